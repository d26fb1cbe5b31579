defmodule AMDGPUFramework.Messaging.Options.Send do
  @moduledoc false
  # The options of one message. Checking is on the data path: what is right is recognised by a clause, and only what is wrong
  # goes through the schema, for its words.

  alias AMDGPUFramework.Messaging.Options

  # A day; the VM's own timers end at 49.
  @max_timeout 86_400_000

  @spec schema() :: Options.schema()
  def schema do
    [
      key: [
        type: {:nullable, :string},
        default: nil,
        doc:
          "Messages with the same key keep their order: same partition, and on Key_Shared the same consumer. Compaction keeps the last of each key."
      ],
      ordering_key: [
        type: {:nullable, {:custom, &__MODULE__.cast_binary/1, "a binary"}},
        default: nil,
        doc: "Instead of the key for Key_Shared; the partition is still chosen by the key."
      ],
      properties: [
        type: :properties,
        default: %{},
        doc: "Text that travels with the message, readable without its payload."
      ],
      event_time: [
        type: {:nullable, :timestamp},
        default: nil,
        doc: "When it happened, by the sender's clock."
      ],
      deliver_after: [
        type: {:nullable, {:integer, 0, :infinity}},
        default: nil,
        doc:
          "Delivered so many ms later, on Shared and Key_Shared subscriptions. Sent alone, not in a batch."
      ],
      deliver_at: [
        type: {:nullable, :timestamp},
        default: nil,
        doc: "The same with a point in time. Not together with `:deliver_after`."
      ],
      sequence_id: [
        type: {:nullable, {:integer, 0, :infinity}},
        default: nil,
        doc:
          "The message's own number, for the broker's deduplication; must grow. A repeated one is `{:error, :duplicate}`."
      ]
    ]
  end

  @doc "The schema of `send_message/3`, which can wait for a limited time."
  @spec schema_with_timeout() :: Options.schema()
  def schema_with_timeout do
    schema() ++
      [
        timeout: [
          type: {:custom, &__MODULE__.cast_timeout/1, timeout_allowed()},
          default: :infinity,
          default_doc: "`:infinity`, so that the producer's `:send_timeout` decides",
          doc:
            "How long this call waits, in ms. Then `{:error, :send_timeout}`, outcome unknown, or `{:error, :queue_full}` where it never left the caller."
        ]
      ]
  end

  @doc "The options of one message as the native side takes them: atom keys, only what was given."
  @spec entry(term) :: {:ok, map} | {:error, tuple}
  def entry(opts) when is_list(opts) or (is_map(opts) and not is_struct(opts)) do
    case fast(opts) do
      {:ok, checked} -> exclusive(checked)
      :slow -> with({:ok, checked} <- Options.validate_given(schema(), opts), do: prune(checked))
    end
  end

  def entry(opts), do: {:error, {:invalid_option, :options, opts, "a keyword list or a map"}}

  @doc "What `:timeout` can be."
  @spec timeout_allowed() :: String.t()
  def timeout_allowed, do: "milliseconds from 1 to #{@max_timeout}, or :infinity"

  @doc false
  def cast_binary(value) when is_binary(value), do: {:ok, value}
  def cast_binary(_value), do: :error

  @doc false
  def cast_timeout(:infinity), do: {:ok, :infinity}
  def cast_timeout(ms) when is_integer(ms) and ms in 1..@max_timeout, do: {:ok, ms}
  def cast_timeout(_timeout), do: :error

  defp fast(opts) when is_map(opts), do: opts |> Map.to_list() |> fast(%{})
  defp fast(opts), do: fast(opts, %{})

  defp fast([{:key, key} | rest], checked) when is_binary(key) and key != "" do
    if String.valid?(key), do: fast(rest, Map.put(checked, :key, key)), else: :slow
  end

  defp fast([{name, value} | rest], checked)
       when name in [:event_time, :deliver_at, :deliver_after, :sequence_id] and is_integer(value) and
              value >= 0,
       do: fast(rest, Map.put(checked, name, value))

  defp fast([{:ordering_key, value} | rest], checked) when is_binary(value),
    do: fast(rest, Map.put(checked, :ordering_key, value))

  defp fast([{:properties, value} | rest], checked) when is_map(value) and not is_struct(value) do
    if Enum.all?(value, fn {key, text} -> is_binary(key) and is_binary(text) end),
      do: fast(rest, Map.put(checked, :properties, value)),
      else: :slow
  end

  defp fast([], checked), do: {:ok, checked}
  defp fast(_opts, _checked), do: :slow

  defp prune(checked), do: checked |> Map.reject(fn {_, value} -> value == nil end) |> exclusive()

  defp exclusive(%{deliver_at: at, deliver_after: _}),
    do: {:error, {:invalid_option, :deliver_at, at, "only one of :deliver_at and :deliver_after"}}

  defp exclusive(checked), do: {:ok, checked}
end
