defmodule AMDGPUFramework.E2E.ConsumingTest do
  use AMDGPUFramework.E2ECase, async: true

  setup_all do
    [broker: TestBroker.shared()]
  end

  setup %{broker: broker} do
    topic = TestBroker.topic("consuming")
    manager = start_manager(broker)
    [manager: manager, topic: topic, producer: producer!(manager, topic)]
  end

  test "a new subscription begins where its option says",
       %{manager: manager, topic: topic} = context do
    {:ok, _} = PulsarManager.send_message(context.producer, "old")
    latest = consumer!(manager, topic, :exclusive, subscription: "l", initial_position: :latest)
    earliest = consumer!(manager, topic, :exclusive, subscription: "e")
    {:ok, _} = PulsarManager.send_message(context.producer, "new")

    assert ["new"] = payloads(receive_messages(latest, 1))
    assert ["old", "new"] = payloads(receive_messages(earliest, 2))
  end

  test "a consumer of several topics knows which is which", %{manager: manager} = context do
    other = TestBroker.topic("consuming")
    "persistent://public/default/" <> short = other
    consumer = consumer!(manager, [context.topic, short])
    {:ok, _} = PulsarManager.send_message(context.producer, "one")
    {:ok, _} = PulsarManager.send_message(producer!(manager, short), "other")

    messages = receive_messages(consumer, 2)
    assert %{"one" => one, "other" => other_message} = Map.new(messages, &{&1.payload, &1})
    assert {one.topic, other_message.topic} == {context.topic, other}
    assert {:ok, %{topics: topics}} = PulsarManager.stats(consumer)
    assert Enum.sort(topics) == Enum.sort([context.topic, other])

    :ok = PulsarManager.ack(consumer, [one.message_id])
    :ok = PulsarManager.close(consumer)
    again = consumer!(manager, [context.topic, other])
    assert ["other"] = payloads(receive_messages(again, 1))
  end

  test "paused, nothing is delivered until it is resumed",
       %{manager: manager, topic: topic} = context do
    consumer = consumer!(manager, topic, :exclusive, paused: true)
    {:ok, _} = PulsarManager.send_messages(context.producer, ["a", "b"])
    assert {:ok, %{connected: true}} = PulsarManager.health(manager)
    refute_received {:pulsar_messages, ^consumer, _}

    :ok = PulsarManager.resume(consumer)
    received = receive_messages(consumer, 2)
    assert payloads(received) == ["a", "b"]
    :ok = PulsarManager.ack(consumer, received)

    :ok = PulsarManager.pause(consumer)
    {:ok, _} = PulsarManager.send_message(context.producer, "c")
    :ok = PulsarManager.resume(consumer)
    assert ["c"] = payloads(receive_messages(consumer, 1))
  end

  test "with manual flow as many come as were asked for",
       %{manager: manager, topic: topic} = context do
    for n <- 1..10, do: {:ok, _} = PulsarManager.send_message(context.producer, "#{n}")
    consumer = consumer!(manager, topic, :exclusive, flow: :manual)
    assert {:ok, _} = PulsarManager.health(manager)
    refute_received {:pulsar_messages, ^consumer, _}

    :ok = PulsarManager.request(consumer, 3)
    first = receive_messages(consumer, 3)
    assert payloads(first) == ~w(1 2 3)

    # Acknowledging gives no room.
    :ok = PulsarManager.ack(consumer, first)
    assert {:ok, _} = PulsarManager.health(manager)
    refute_received {:pulsar_messages, ^consumer, _}

    :ok = PulsarManager.request(consumer, 2)
    assert payloads(receive_messages(consumer, 2)) == ~w(4 5)
    assert {:ok, _} = PulsarManager.health(manager)
    refute_received {:pulsar_messages, ^consumer, _}

    other = consumer!(manager, topic, :exclusive, subscription: "other")
    assert {:error, :not_allowed} = PulsarManager.request(other, 1)
    assert {:error, {:invalid_option, :count, 0, _}} = PulsarManager.request(consumer, 0)
  end

  describe "seek" do
    test "to the earliest and to the latest message", context do
      consumer = filled(context)
      :ok = PulsarManager.seek(consumer, :earliest)
      assert payloads(take(consumer, 10)) == numbers(1..10)
      assert receive_rest(consumer, context.producer) == []

      :ok = PulsarManager.seek(consumer, :earliest)
      :ok = PulsarManager.seek(consumer, :latest)
      rest = payloads(receive_rest(consumer, context.producer))
      # What was on its way to this process may still come.
      assert Enum.all?(rest, &(&1 in numbers(1..10) or &1 =~ "marker"))
    end

    test "to a message, behind which it goes on, also inside a batch", context do
      consumer = filled(context)
      {:ok, ids} = PulsarManager.send_messages(context.producer, ~w(a b c d))
      _ = take(consumer, 4)

      :ok = PulsarManager.seek(consumer, Enum.at(ids, 1))
      assert ~w(c d) = payloads(take(consumer, 2))

      :ok = PulsarManager.seek(consumer, :earliest)
      fifth = consumer |> take(14) |> Enum.at(4)
      :ok = PulsarManager.seek(consumer, fifth)
      assert payloads(take(consumer, 9)) == numbers(6..10) ++ ~w(a b c d)
    end

    test "to a time", context do
      consumer = filled(context)
      :ok = PulsarManager.seek(consumer, :earliest)
      times = Enum.map(take(consumer, 10), & &1.publish_time)

      :ok = PulsarManager.seek(consumer, {:timestamp, hd(times)})
      assert payloads(take(consumer, 10)) == numbers(1..10)

      :ok =
        PulsarManager.seek(consumer, DateTime.from_unix!(List.last(times) + 1_000, :millisecond))

      assert receive_rest(consumer, context.producer) == []
    end

    test "somewhere that does not exist is refused", context do
      consumer = filled(context)

      assert {:error, {:invalid_option, :position, :somewhere, _}} =
               PulsarManager.seek(consumer, :somewhere)
    end
  end

  test "unsubscribing removes the subscription and closes",
       %{manager: manager, topic: topic} = context do
    consumer = consumer!(manager, topic)
    {:ok, _} = PulsarManager.send_message(context.producer, "lost on purpose")
    assert subscription_stats(context.broker, topic)

    assert :ok = PulsarManager.unsubscribe(consumer)
    assert subscription_stats(context.broker, topic) == nil
    assert {:error, :not_found} = PulsarManager.lookup(consumer)
    assert {:error, :consumer_not_found} = PulsarManager.unsubscribe(consumer)
  end

  test "key_shared gives all messages of a key to one consumer, in order",
       %{manager: manager} = context do
    consumers = for _ <- 1..3, do: consumer!(manager, context.topic, :key_shared)
    messages = for n <- 0..299, do: {"#{n}", key: "key #{rem(n, 30)}"}
    # The broker routes entries: messages of different keys must not share a batch.
    producer = producer!(manager, context.topic, batch_size: 1)
    {:ok, _} = PulsarManager.send_messages(producer, messages)

    received = receive_from(consumers, 300, [])
    owners = Enum.group_by(received, fn {_consumer, m} -> m.key end)
    assert map_size(owners) == 30

    for {key, messages} <- owners do
      assert [_] = messages |> Enum.map(&elem(&1, 0)) |> Enum.uniq(), "one consumer for #{key}"
      numbers = Enum.map(messages, fn {_, m} -> String.to_integer(m.payload) end)
      assert numbers == Enum.sort(numbers)
    end

    assert received |> Enum.map(&elem(&1, 0)) |> Enum.uniq() |> length() > 1
  end

  test "when an active failover consumer closes the other goes on",
       %{manager: manager, topic: topic} = context do
    active = consumer!(manager, topic, :failover)
    {:ok, _} = PulsarManager.send_messages(context.producer, ["a", "b"])
    [first, _second] = receive_messages(active, 2)
    :ok = PulsarManager.ack(active, first)
    waiting = consumer!(manager, topic, :failover)

    :ok = PulsarManager.close(active)
    assert ["b"] = payloads(receive_messages(waiting, 1))
  end

  test "what a consumer held goes to another one when it closes", context do
    %{manager: manager, topic: topic} = context
    first = consumer!(manager, topic)
    {:ok, _} = PulsarManager.send_message(context.producer, "again")
    assert ["again"] = payloads(receive_messages(first, 1))
    second = consumer!(manager, topic)

    :ok = PulsarManager.close(first)
    assert ["again"] = payloads(receive_messages(second, 1))
  end

  test "stats count what was received and acknowledged",
       %{manager: manager, topic: topic} = context do
    consumer = consumer!(manager, topic, :exclusive)
    {:ok, _} = PulsarManager.send_messages(context.producer, ~w(a b c))
    [a | _] = receive_messages(consumer, 3)
    :ok = PulsarManager.ack(consumer, a)

    assert eventually(fn ->
             match?({:ok, %{acked: 1, unacked: 2}}, PulsarManager.stats(consumer))
           end)

    assert {:ok, stats} = PulsarManager.stats(consumer)

    assert %{message_count: 3, messages_received: 3, bytes_received: bytes, topics: [^topic]} =
             stats

    assert bytes > 0
    assert %{subscription: "test", created_at: %DateTime{}} = stats
    assert {:ok, handle} = PulsarManager.lookup(consumer)
    assert {:ok, %{message_count: 3}} = PulsarManager.stats(handle)
  end

  defp filled(%{manager: manager, topic: topic, producer: producer}) do
    for n <- 1..10, do: {:ok, _} = PulsarManager.send_message(producer, "#{n}")
    consumer = consumer!(manager, topic, :exclusive)
    take(consumer, 10)
    consumer
  end

  defp take(consumer, count) do
    messages = receive_messages(consumer, count)
    :ok = PulsarManager.ack(consumer, messages)
    messages
  end

  defp numbers(range), do: Enum.map(range, &Integer.to_string/1)

  defp receive_from(_consumers, count, received) when length(received) >= count, do: received

  defp receive_from(consumers, count, received) do
    receive do
      {:pulsar_messages, consumer, messages} ->
        assert consumer in consumers
        receive_from(consumers, count, received ++ Enum.map(messages, &{consumer, &1}))
    after
      30_000 -> flunk("#{length(received)} of #{count} messages came")
    end
  end
end
