defmodule AMDGPUFramework.E2E.ConsumerOwnerTest do
  use AMDGPUFramework.E2ECase, async: false

  @window 1_000
  @backlog 1_000_000
  @mib 1_048_576

  setup_all do
    [broker: TestBroker.shared()]
  end

  setup %{broker: broker}, do: [manager: start_manager(broker), topic: TestBroker.topic("owner")]

  test "a consumer closes when its owner is killed, and what it had comes to the next", context do
    %{manager: manager, topic: topic, broker: broker} = context
    test = self()

    owner =
      spawn(fn ->
        consumer = consumer!(manager, topic)
        send(test, {:consumer, consumer})
        send(test, {:had, receive_messages(consumer, 3)})
        Process.sleep(:infinity)
      end)

    assert_receive {:consumer, consumer}, 30_000
    producer = producer!(manager, topic)
    {:ok, _} = PulsarManager.send_messages(producer, ["a", "b", "c"])
    assert_receive {:had, [_, _, _]}, 30_000
    assert [_] = subscription_stats(broker, topic)["consumers"]

    Process.exit(owner, :kill)

    assert_receive {:pulsar_event, %{event_type: "consumer_closed", consumer_id: ^consumer}},
                   30_000

    assert eventually(fn -> PulsarManager.lookup(consumer) == {:error, :not_found} end)
    assert {:error, :consumer_not_found} = PulsarManager.ack(consumer, [])
    assert eventually(fn -> subscription_stats(broker, topic)["consumers"] == [] end)

    next = consumer!(manager, topic)
    assert payloads(receive_rest(next, producer)) == ["a", "b", "c"]
  end

  test "a producer closes with the owner it was given", context do
    owner = spawn(fn -> Process.sleep(:infinity) end)
    producer = producer!(context.manager, context.topic, owner: owner)
    assert {:ok, _} = PulsarManager.send_message(producer, "before")

    Process.exit(owner, :kill)

    assert_receive {:pulsar_event, %{event_type: "producer_closed", producer_id: ^producer}},
                   30_000

    assert eventually(fn -> PulsarManager.lookup(producer) == {:error, :not_found} end)
    assert {:error, :producer_not_found} = PulsarManager.send_message(producer, "after")
  end

  @tag timeout: 300_000
  test "an owner that never acknowledges a million messages costs one window", context do
    %{manager: manager, topic: topic} = context
    keep_backlog = consumer!(manager, topic, :shared, paused: true)
    :ok = PulsarManager.close(keep_backlog)
    fill(manager, topic)
    before = memory()

    consumer = consumer!(manager, topic)

    assert_receive {:pulsar_event,
                    %{event_type: "consumer_stalled", consumer_id: ^consumer} = event},
                   60_000

    # The last entry may go beyond the window; a batch has at most a thousand messages.
    assert event.unacked in @window..(2 * @window)

    # Each answer of the broker comes after what it had sent before.
    for _ <- 1..20, do: assert({:ok, %{connected: true}} = PulsarManager.health(manager))

    delivered = delivered(consumer, [])
    assert length(delivered) in @window..(2 * @window)
    assert {:ok, %{unacked: unacked, queued: queued}} = PulsarManager.stats(consumer)
    assert unacked == length(delivered)
    assert queued <= 2 * @window

    {vm, process} = memory()
    {vm_before, process_before} = before
    assert vm - vm_before < 16 * @mib
    assert process - process_before < 48 * @mib

    # Room comes back as messages are acknowledged.
    :ok = PulsarManager.ack(consumer, delivered)
    assert [_ | _] = more = receive_messages(consumer, @window)
    assert MapSet.disjoint?(ids(delivered), ids(more))
  end

  defp fill(manager, topic) do
    producer = producer!(manager, topic, compression: :none)
    list = List.duplicate(String.duplicate("x", 100), 500)

    refs =
      for _ <- 1..div(@backlog, 500) do
        {:ok, ref} = PulsarManager.send_messages_async(producer, list)
        ref
      end

    for ref <- refs, do: assert_receive({^ref, {:ok, _ids}}, 60_000)
    :ok = PulsarManager.close(producer)
  end

  defp delivered(consumer, messages) do
    receive do
      {:pulsar_messages, ^consumer, more} -> delivered(consumer, messages ++ more)
    after
      0 -> messages
    end
  end

  defp ids(messages), do: MapSet.new(messages, &to_string(&1.message_id))

  defp memory do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    {:erlang.memory(:total), resident()}
  end

  # The VM and its native library together; what other systems than Linux do not tell is not judged.
  defp resident do
    with {:ok, status} <- File.read("/proc/self/status"),
         [_, kib] <- Regex.run(~r/VmRSS:\s+(\d+) kB/, status) do
      String.to_integer(kib) * 1024
    else
      _ -> 0
    end
  end
end
