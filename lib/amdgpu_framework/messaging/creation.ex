defmodule AMDGPUFramework.Messaging.Creation do
  @moduledoc false
  # The creation of a producer or a consumer: what was asked for, checked in the process of the caller; then opened by
  # the manager, which goes on while the broker answers.

  alias AMDGPUFramework.Messaging.{ClusterConfig, Handle, Handles, Native, Options, UUID}

  @max_topics 10_000

  @enforce_keys [:kind, :id, :topics, :options]
  defstruct [
    :kind,
    :id,
    :topics,
    :subscription,
    :sub_type,
    :options,
    :owner,
    :instance,
    :from,
    :monitor,
    :timer,
    :manager
  ]

  @type t :: %__MODULE__{}

  @producer_options [
    :batch_size,
    :batch_bytes,
    :batch_delay,
    :compression,
    :max_pending_messages,
    :max_pending_bytes,
    :send_timeout,
    :routing,
    :properties
  ]
  @consumer_options [
    :initial_position,
    :receiver_queue_size,
    :max_bytes,
    :flow,
    :nack_delay,
    :ack_group_time,
    :properties
  ]

  @spec producer(term, term, term) :: {:ok, t} | {:error, term}
  def producer(topic, name, opts) do
    with {:ok, id} <- id(name, "producer_"),
         {:ok, options} <- Options.validate(Options.Producer.schema(), opts) do
      {:ok,
       %__MODULE__{
         kind: :producer,
         id: id,
         topics: [topic],
         options: options,
         owner: options.owner
       }}
    end
  end

  @spec consumer(term, term, term, term, term) :: {:ok, t} | {:error, term}
  def consumer(topics, subscription, name, sub_type, opts) do
    with {:ok, id} <- id(name, "consumer_"),
         {:ok, topics} <- topics(topics),
         {:ok, subscription} <- cast(:subscription, :string, subscription),
         {:ok, sub_type} <- cast(:sub_type, {:one_of, Options.Consumer.sub_types()}, sub_type),
         {:ok, options} <- Options.validate(Options.Consumer.schema(), opts) do
      {:ok,
       %__MODULE__{
         kind: :consumer,
         id: id,
         topics: topics,
         subscription: subscription,
         sub_type: sub_type,
         options: options,
         owner: options.owner || self()
       }}
    end
  end

  @doc "Takes the id and asks the native side to open; the answer comes to the calling process with `ref`."
  @spec open(t, reference, client :: reference, ClusterConfig.t()) :: {:ok, t} | {:error, term}
  def open(%__MODULE__{} = creation, ref, client, config) do
    with {:ok, topics} <- full_names(creation.topics, config),
         :ok <- local(creation.owner),
         {:ok, instance} <- Handles.reserve(creation.id, creation.kind) do
      creation = %{creation | topics: topics, instance: instance, owner: creation.owner || self()}

      case native_open(creation, ref, client) do
        :ok ->
          {:ok, creation}

        {:error, _} = error ->
          release(creation)
          error
      end
    end
  end

  @doc "Puts what was opened under its id."
  @spec commit(t, native :: reference) :: :ok | {:error, :closed}
  def commit(%__MODULE__{} = creation, native) do
    handle = %Handle{
      kind: creation.kind,
      id: creation.id,
      native: native,
      manager: creation.manager,
      instance: creation.instance,
      block: Map.get(creation.options, :block, true)
    }

    case Handles.commit(handle, info(creation)) do
      :ok ->
        deliver(creation, native)
        :ok

      {:error, :gone} ->
        close(creation, native)
        {:error, :closed}
    end
  end

  @doc "Closes what was opened and nobody waits for; the answer is of no interest."
  @spec close(t, native :: reference) :: term
  def close(%__MODULE__{kind: :producer}, native), do: Native.producer_close(native, make_ref())
  def close(%__MODULE__{kind: :consumer}, native), do: Native.consumer_close(native, make_ref())

  @spec release(t) :: :ok
  def release(%__MODULE__{} = creation), do: Handles.release(creation.id, creation.instance)

  @spec timeout_reason(t) :: :producer_creation_timeout | :consumer_creation_timeout
  def timeout_reason(%__MODULE__{kind: :producer}), do: :producer_creation_timeout
  def timeout_reason(%__MODULE__{kind: :consumer}), do: :consumer_creation_timeout

  defp native_open(%{kind: :producer, topics: [topic]} = creation, ref, client) do
    options = native_options(creation, @producer_options)
    Native.producer_open(client, ref, creation.id, topic, options, creation.owner)
  end

  # Opened paused: the owner may be another process, and could acknowledge before the id is known.
  defp native_open(%{kind: :consumer} = creation, ref, client) do
    options =
      creation
      |> native_options(@consumer_options)
      |> Map.merge(%{sub_type: creation.sub_type, paused: true})

    Native.consumer_open(
      client,
      ref,
      creation.id,
      creation.topics,
      creation.subscription,
      options,
      creation.owner
    )
  end

  defp native_options(creation, keys) do
    creation.options
    |> Map.take(keys)
    |> Map.merge(%{name: creation.id, instance: creation.instance})
  end

  defp deliver(%{kind: :consumer, options: %{paused: false}}, native),
    do: Native.consumer_resume(native)

  defp deliver(_creation, _native), do: :ok

  defp info(%{kind: :producer, topics: [topic]} = creation) do
    %{
      topic: topic,
      created_at: DateTime.utc_now(),
      owner: creation.owner,
      send_timeout: creation.options.send_timeout
    }
  end

  defp info(%{kind: :consumer} = creation) do
    %{
      topics: creation.topics,
      subscription: creation.subscription,
      sub_type: creation.sub_type,
      created_at: DateTime.utc_now(),
      owner: creation.owner
    }
  end

  defp id(nil, prefix), do: {:ok, prefix <> UUID.uuid4()}
  defp id(name, _prefix), do: cast(:name, {:nullable, :string}, name)

  defp topics(topic) when is_binary(topic), do: {:ok, [topic]}

  defp topics(topics) do
    case Options.cast({:list, :string}, topics) do
      {:ok, [_ | _] = topics} when length(topics) <= @max_topics ->
        {:ok, Enum.uniq(topics)}

      _ ->
        allowed = "a topic name or a list of at least one and at most #{@max_topics}"
        {:error, {:invalid_option, :topics, topics, allowed}}
    end
  end

  # A caller on another node is an owner that nothing can be delivered to.
  defp local(owner) when owner == nil or node(owner) == node(), do: :ok
  defp local(owner), do: {:error, {:invalid_option, :owner, owner, Options.allowed(:process)}}

  defp full_names(topics, config) do
    names = Enum.map(topics, &ClusterConfig.topic(config, &1))

    case Enum.find(names, &match?({:error, _}, &1)) do
      nil -> {:ok, names |> Enum.map(&elem(&1, 1)) |> Enum.uniq()}
      error -> error
    end
  end

  defp cast(key, type, value) do
    case Options.cast(type, value) do
      {:ok, value} -> {:ok, value}
      _ -> {:error, {:invalid_option, key, value, Options.allowed(type)}}
    end
  end
end
