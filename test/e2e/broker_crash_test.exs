defmodule AMDGPUFramework.E2E.BrokerCrashTest do
  use AMDGPUFramework.E2ECase, async: false

  @moduletag timeout: 300_000

  @window 4_000
  @list 100

  setup do
    broker = TestBroker.start!()
    info = Standalone.info(broker)
    [broker: broker, info: info, manager: start_manager(info)]
  end

  test "50 000 keyed messages survive two kill -9 of the broker, in order for each key",
       context do
    topic = TestBroker.topic("crash")
    survive(context, topic, :exclusive, messages: 50_000, keys: 100, crashes: [12_000, 30_000])
  end

  test "so do the partitions of a topic", context do
    topic = create_partitions(context.info, TestBroker.topic("crash"), 3)
    survive(context, topic, :failover, messages: 9_000, keys: 30, crashes: [3_000])
  end

  defp survive(context, topic, sub_type, options) do
    %{messages: total, keys: keys, crashes: crashes} = Map.new(options)
    consumer = consumer!(context.manager, topic, sub_type)
    producer = producer!(context.manager, topic, send_timeout: 120_000)
    messages = for n <- 0..(total - 1), do: {"#{div(n, keys)}", key: "key #{rem(n, keys)}"}
    sender = Task.async(fn -> send_all(producer, messages, 0, %{}, MapSet.new()) end)

    {consumed, confirmed} =
      collect(%{
        consumer: consumer,
        sender: sender,
        broker: context.broker,
        crashes: crashes,
        outage: nil,
        total: total,
        confirmed: nil,
        seen: MapSet.new(),
        first: %{}
      })

    lost = for {key, n} = message <- confirmed, message not in consumed.seen, do: {key, n}
    assert lost == []
    assert MapSet.size(confirmed) == total

    for {key, numbers} <- consumed.first do
      assert Enum.reverse(numbers) == Enum.to_list(0..(div(total, keys) - 1)), "order of #{key}"
    end

    assert {:ok, %{connected: connected}} = PulsarManager.stats(consumer)
    assert connected > 0
    for _ <- crashes, do: assert_received({:pulsar_event, %{event_type: "consumer_disconnected"}})
    for _ <- crashes, do: assert_received({:pulsar_event, %{event_type: "consumer_reconnected"}})
  end

  # Sends lists without waiting for receipts, with a bound on what is not consumed yet, so that messages flow while the
  # broker goes. Returns what the broker confirmed.
  defp send_all(_producer, [], _open, receipts, confirmed) when receipts == %{}, do: confirmed

  defp send_all(producer, messages, open, receipts, confirmed) do
    if messages != [] and open + @list <= @window do
      {list, rest} = Enum.split(messages, @list)
      {:ok, ref} = PulsarManager.send_messages_async(producer, list)
      send_all(producer, rest, open + length(list), Map.put(receipts, ref, list), confirmed)
    else
      receive do
        {:consumed, count} ->
          send_all(producer, messages, open - count, receipts, confirmed)

        {ref, result} when is_map_key(receipts, ref) ->
          {list, receipts} = Map.pop!(receipts, ref)
          confirmed = MapSet.union(confirmed, stored(list, result))
          send_all(producer, messages, open, receipts, confirmed)
      after
        120_000 -> flunk("neither receipts nor consumed messages")
      end
    end
  end

  defp stored(list, {:ok, _ids}), do: MapSet.new(list, &identity/1)

  defp stored(list, {:error, {_reason, partial}}) do
    for {message, {:ok, _id}} <- Enum.zip(list, partial),
        into: MapSet.new(),
        do: identity(message)
  end

  defp identity({payload, key: key}), do: {key, String.to_integer(payload)}

  defp collect(%{confirmed: confirmed, outage: nil} = state) when confirmed != nil do
    if MapSet.subset?(confirmed, state.seen), do: {state, confirmed}, else: collect_more(state)
  end

  defp collect(state), do: collect_more(state)

  defp collect_more(%{consumer: consumer, sender: %{ref: sender}, outage: outage} = state) do
    receive do
      {:pulsar_messages, ^consumer, messages} ->
        noted = Enum.reduce(messages, state, &note/2)
        :ok = PulsarManager.ack(consumer, messages)
        send(state.sender.pid, {:consumed, MapSet.size(noted.seen) - MapSet.size(state.seen)})
        noted |> crash() |> collect()

      {^sender, confirmed} ->
        Process.demonitor(sender, [:flush])
        collect(%{state | confirmed: confirmed})

      {^outage, :ok} ->
        Process.demonitor(outage, [:flush])
        collect(%{state | outage: nil})
    after
      90_000 -> flunk("#{MapSet.size(state.seen)} of #{state.total} messages came")
    end
  end

  # A message that was sent again may be in the topic twice: the first one counts.
  defp note(message, state) do
    {key, n} = identity = {message.key, String.to_integer(message.payload)}

    if identity in state.seen do
      state
    else
      first = Map.update(state.first, key, [n], &[n | &1])
      %{state | seen: MapSet.put(state.seen, identity), first: first}
    end
  end

  defp crash(%{crashes: [at | rest], outage: nil, broker: broker} = state) do
    if MapSet.size(state.seen) >= at do
      outage =
        Task.async(fn ->
          :ok = Standalone.kill(broker)
          Standalone.restart(broker)
        end)

      %{state | crashes: rest, outage: outage.ref}
    else
      state
    end
  end

  defp crash(state), do: state
end
