defmodule AMDGPUFramework.Messaging.Producer do
  @moduledoc false
  # Sending, in the process of the caller: an id becomes a handle, messages become entries, lists become native calls of
  # a bounded size, and receipts are waited for.

  alias AMDGPUFramework.Messaging.{Call, Chunks, Handles, Native}
  alias AMDGPUFramework.Messaging.Options.Send

  @control_timeout 60_000
  @framework_message_timeout 10_000

  @spec send_message(term, binary | nil, term) :: {:ok, term} | {:error, term}
  def send_message(producer, payload, opts) do
    with {:ok, handle} <- Handles.fetch(producer, :producer),
         {:ok, opts, timeout} <- take_timeout(opts),
         {:ok, entry} <- entry({payload, opts}) do
      Call.run(
        &Native.producer_send(handle.native, &1, entry, handle.block),
        timeout,
        &give_up(handle, &1)
      )
    end
  end

  @doc "Sends one of the framework's own messages, whose type is in a property."
  @spec send_encoded(term, {:ok, binary} | {:error, term}, String.t()) ::
          {:ok, term} | {:error, term}
  def send_encoded(_producer, {:error, _} = error, _type), do: error

  def send_encoded(producer, {:ok, payload}, type) do
    send_message(producer, payload,
      properties: %{"message_type" => type},
      timeout: @framework_message_timeout
    )
  end

  @spec send_messages(term, [term]) :: {:ok, list} | {:error, term}
  def send_messages(producer, messages) do
    with {:ok, handle} <- Handles.fetch(producer, :producer),
         {:ok, entries} <- entries(messages) do
      entries |> Chunks.split() |> submit_all(handle) |> collect()
    end
  end

  @spec send_async(term, binary | nil, term) :: {:ok, reference} | {:error, term}
  def send_async(producer, payload, opts) do
    with {:ok, handle} <- Handles.fetch(producer, :producer),
         {:ok, entry} <- entry({payload, opts}),
         do: submit_async(handle, entry)
  end

  @spec send_messages_async(term, [term]) :: {:ok, reference} | {:error, term}
  def send_messages_async(producer, messages) do
    with {:ok, handle} <- Handles.fetch(producer, :producer),
         {:ok, entries} <- entries(messages) do
      case Chunks.split(entries) do
        [] -> answer_at_once({:ok, []})
        [{chunk, _count}] -> submit_async(handle, chunk)
        chunks -> collect_async(handle, chunks)
      end
    end
  end

  @spec flush(term) :: :ok | {:error, term}
  def flush(producer) do
    with {:ok, handle} <- Handles.fetch(producer, :producer),
         do: Call.run(&Native.producer_flush(handle.native, &1), patience(handle))
  end

  @spec close(AMDGPUFramework.Messaging.Handle.t()) :: :ok | {:error, term}
  def close(handle) do
    with :ok <- Call.run(&Native.producer_close(handle.native, &1), patience(handle)),
         do: Handles.release(handle.id, handle.instance)
  end

  @spec stats(AMDGPUFramework.Messaging.Handle.t()) :: map
  def stats(handle) do
    stats = Native.producer_stats(handle.native)
    Map.put(stats, :message_count, Map.get(stats, :messages_sent, 0))
  end

  # Draining takes as long as its messages may; a producer that never gives up may take for ever.
  defp patience(handle) do
    case Handles.info(handle) do
      {:ok, %{send_timeout: 0}} -> :infinity
      {:ok, %{send_timeout: timeout}} -> timeout + @control_timeout
      {:error, :closed} -> @control_timeout
    end
  end

  # Withdrawn while it waited for room, nothing was sent; once admitted it cannot be taken back.
  defp give_up(handle, ref) do
    case Native.producer_cancel(handle.native, ref) do
      :ok -> {:error, :queue_full}
      _ -> {:error, :send_timeout}
    end
  end

  defp take_timeout([]), do: {:ok, [], :infinity}

  defp take_timeout(opts) when is_list(opts) or is_map(opts) do
    {given, opts} = split_timeout(opts)

    case Enum.map(given, fn {_key, value} -> Send.cast_timeout(value) end) do
      [] -> {:ok, opts, :infinity}
      [{:ok, timeout}] -> {:ok, opts, timeout}
      _ -> {:error, {:invalid_option, :timeout, elem(hd(given), 1), Send.timeout_allowed()}}
    end
  end

  defp take_timeout(opts), do: {:ok, opts, :infinity}

  defp split_timeout(opts) when is_map(opts) do
    {given, opts} = Map.split(opts, [:timeout, "timeout"])
    {Map.to_list(given), opts}
  end

  defp split_timeout(opts), do: split_timeout(opts, [], [])

  defp split_timeout([{:timeout, _} = given | rest], taken, opts),
    do: split_timeout(rest, [given | taken], opts)

  defp split_timeout([option | rest], taken, opts),
    do: split_timeout(rest, taken, [option | opts])

  # What is no list to its end is refused with the other options.
  defp split_timeout(rest, taken, opts), do: {taken, :lists.reverse(opts, rest)}

  defp entries(messages) when is_list(messages), do: entries(messages, [])
  defp entries(messages), do: {:error, invalid_messages(messages)}

  defp entries([payload | rest], entries) when is_binary(payload) or is_nil(payload),
    do: entries(rest, [payload | entries])

  defp entries([message | rest], entries) do
    with {:ok, entry} <- entry(message), do: entries(rest, [entry | entries])
  end

  defp entries([], entries), do: {:ok, Enum.reverse(entries)}
  defp entries(tail, _entries), do: {:error, invalid_messages(tail)}

  defp entry({payload, opts}) when is_binary(payload) or is_nil(payload) do
    case Send.entry(opts) do
      {:ok, opts} when opts == %{} -> {:ok, payload}
      {:ok, opts} -> {:ok, {payload, opts}}
      {:error, _} = error -> error
    end
  end

  defp entry({payload, _opts}), do: {:error, invalid_payload(payload)}
  defp entry(payload), do: {:error, invalid_payload(payload)}

  defp invalid_messages(messages),
    do: {:invalid_option, :messages, messages, "a list of payloads or {payload, options}"}

  defp invalid_payload(payload),
    do: {:invalid_option, :payload, payload, "a binary, or nil for a tombstone"}

  # Later chunks leave while earlier ones are unconfirmed. After one that was refused nothing more is sent, or the order
  # of the list would be broken.
  defp submit_all(chunks, handle), do: submit_all(chunks, handle, [])

  defp submit_all([], _handle, tickets), do: Enum.reverse(tickets)

  defp submit_all([{chunk, count} | rest], handle, tickets) do
    case submit(handle, chunk) do
      {:ok, ticket} -> submit_all(rest, handle, [ticket | tickets])
      {:error, reason} -> Enum.reverse(tickets, refused([{chunk, count} | rest], reason))
    end
  end

  defp refused(chunks, reason),
    do: Enum.map(chunks, fn {_chunk, count} -> {:done, Chunks.refused(reason, count)} end)

  defp collect(tickets), do: tickets |> Enum.map(&Call.await/1) |> Chunks.merge()

  defp submit(handle, entries),
    do: Call.submit(&Native.producer_send(handle.native, &1, entries, handle.block))

  defp submit_async(handle, entries) do
    case submit(handle, entries) do
      {:ok, {:done, result}} -> answer_at_once(result)
      {:ok, ref} -> {:ok, ref}
      {:error, _} = error -> error
    end
  end

  defp answer_at_once(result) do
    ref = make_ref()
    send(self(), {ref, result})
    {:ok, ref}
  end

  # A list of many chunks has many receipts and one answer: a process of its own gathers them. The caller goes on when all
  # is admitted, so that what it sends next is behind.
  defp collect_async(handle, chunks) do
    caller = self()
    ref = make_ref()

    {_pid, monitor} =
      spawn_monitor(fn ->
        tickets = submit_all(chunks, handle)
        send(caller, {ref, :admitted, hd(tickets)})
        send(caller, {ref, collect(tickets)})
      end)

    receive do
      {^ref, :admitted, {:done, {:error, {reason, _partial}}}} ->
        await_end(monitor)
        receive do: ({^ref, _result} -> {:error, reason})

      {^ref, :admitted, _first} ->
        Process.demonitor(monitor, [:flush])
        {:ok, ref}

      {:DOWN, ^monitor, :process, _pid, reason} ->
        exit(reason)
    end
  end

  defp await_end(monitor), do: receive(do: ({:DOWN, ^monitor, :process, _pid, _reason} -> :ok))
end
