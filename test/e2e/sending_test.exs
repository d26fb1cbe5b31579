defmodule AMDGPUFramework.E2E.SendingTest do
  use AMDGPUFramework.E2ECase, async: true

  setup_all do
    [broker: TestBroker.shared()]
  end

  setup %{broker: broker} do
    topic = TestBroker.topic("sending")
    manager = start_manager(broker)
    consumer = consumer!(manager, topic, :exclusive)
    [manager: manager, topic: topic, consumer: consumer, producer: producer!(manager, topic)]
  end

  test "a message arrives with everything it was sent with", context do
    before = System.os_time(:millisecond)

    {:ok, id} =
      PulsarManager.send_message(context.producer, <<0, 1, 255>>,
        key: "größe",
        ordering_key: <<7, 0>>,
        properties: %{"source" => "sensor", "empty" => ""},
        event_time: 1_234_567
      )

    message = receive_message(context.consumer)
    assert message.payload == <<0, 1, 255>>
    assert message.message_id == id
    assert message.topic == context.topic
    assert message.key == "größe"
    assert message.ordering_key == <<7, 0>>
    assert message.properties == %{"source" => "sensor", "empty" => ""}
    assert message.event_time == 1_234_567
    assert message.publish_time in before..System.os_time(:millisecond)
    assert message.producer_name == context.producer
    assert message.redelivery_count == 0
    assert message.schema_version == nil
  end

  test "what was not given is absent", context do
    {:ok, _} = PulsarManager.send_message(context.producer, "")
    message = receive_message(context.consumer)
    assert %{payload: "", key: nil, ordering_key: nil, event_time: nil} = message
    assert message.properties == %{}
  end

  test "a nil payload is a tombstone, alone and in a batch", context do
    {:ok, _} = PulsarManager.send_message(context.producer, nil, key: "gone")
    {:ok, _} = PulsarManager.send_messages(context.producer, ["stays", {nil, key: "gone too"}])

    assert [{nil, "gone"}, {"stays", nil}, {nil, "gone too"}] =
             for(m <- receive_messages(context.consumer, 3), do: {m.payload, m.key})
  end

  test "a list keeps its order and gives its ids in that order", context do
    payloads = Enum.map(1..3_000, &Integer.to_string/1)
    assert {:ok, ids} = PulsarManager.send_messages(context.producer, payloads)
    received = receive_messages_acking(context.consumer, 3_000)
    assert payloads(received) == payloads
    assert Enum.map(received, & &1.message_id) == ids
    assert ids == Enum.sort(ids, MessageId)
    assert {:ok, []} = PulsarManager.send_messages(context.producer, [])
  end

  test "sending asynchronously answers once, with ids", context do
    {:ok, one} = PulsarManager.send_async(context.producer, "1", key: "k")
    {:ok, list} = PulsarManager.send_messages_async(context.producer, ["2", {"3", key: "k"}])
    many = Enum.map(4..2_000, &Integer.to_string/1)
    {:ok, long} = PulsarManager.send_messages_async(context.producer, many)
    {:ok, none} = PulsarManager.send_messages_async(context.producer, [])

    assert_receive {^one, {:ok, %MessageId{} = first}}, 30_000
    assert_receive {^list, {:ok, [%MessageId{}, %MessageId{}] = second}}, 30_000
    assert_receive {^long, {:ok, rest}}, 30_000
    assert_receive {^none, {:ok, []}}, 30_000

    received = receive_messages_acking(context.consumer, 2_000)
    assert Enum.map(received, & &1.message_id) == [first | second ++ rest]
    refute_received {^long, _}
  end

  test "flush waits until all that was sent is confirmed", context do
    producer = producer!(context.manager, context.topic, batch_delay: 60_000)

    refs =
      for n <- 1..100 do
        {:ok, ref} = PulsarManager.send_async(producer, "#{n}")
        ref
      end

    assert :ok = PulsarManager.flush(producer)
    assert {:ok, %{pending_messages: 0, message_count: 100}} = PulsarManager.stats(producer)
    for ref <- refs, do: assert_received({^ref, {:ok, %MessageId{}}})
  end

  test "close waits for what was sent, and then the id is free", context do
    {:ok, ref} = PulsarManager.send_messages_async(context.producer, ["a", "b"])
    assert :ok = PulsarManager.close(context.producer)
    assert_received {^ref, {:ok, [_, _]}}
    assert {:error, :producer_not_found} = PulsarManager.send_message(context.producer, "c")
    assert {:error, :not_found} = PulsarManager.close(context.producer)

    options = [manager: context.manager]
    assert {:ok, _} = PulsarManager.create_producer(context.topic, context.producer, options)
  end

  test "a delayed message comes later than those sent after it", context do
    consumer = consumer!(context.manager, context.topic, :shared, subscription: "delayed")
    sent = System.os_time(:millisecond)
    at = DateTime.from_unix!(sent + 5_000, :millisecond)

    {:ok, _} = PulsarManager.send_message(context.producer, "after", deliver_after: 3_000)
    {:ok, _} = PulsarManager.send_message(context.producer, "at", deliver_at: at)
    {:ok, _} = PulsarManager.send_message(context.producer, "now")

    # The broker looks every second and may be so much early.
    assert ["now"] = payloads(receive_messages(consumer, 1))
    assert ["after"] = payloads(receive_messages(consumer, 1))
    assert System.os_time(:millisecond) - sent >= 1_900
    assert ["at"] = payloads(receive_messages(consumer, 1))
    assert System.os_time(:millisecond) - sent >= 3_900
  end

  test "every compression arrives, with payloads from nothing to a megabyte", context do
    payloads = ["", "x", :crypto.strong_rand_bytes(1_048_576), String.duplicate("a", 300_000)]

    for compression <- [:none, :lz4, :zlib, :zstd, :snappy] do
      producer = producer!(context.manager, context.topic, compression: compression)
      assert {:ok, [_, _, _, _]} = PulsarManager.send_messages(producer, payloads)
      messages = receive_messages_acking(context.consumer, 4)
      assert payloads(messages) == payloads, "#{compression}"
    end
  end

  test "a message above the broker's limit is refused and the next one is not", context do
    limit = 5 * 1_048_576

    assert {:error, :message_too_large} =
             PulsarManager.send_message(context.producer, :crypto.strong_rand_bytes(limit + 1))

    assert {:ok, _} = PulsarManager.send_message(context.producer, "small")
    assert ["small"] = payloads(receive_messages(context.consumer, 1))
  end

  test "the routing option chooses the partition", %{broker: broker, manager: manager} do
    topic = create_partitions(broker, TestBroker.topic("routed"), 3)

    producer = producer!(manager, topic, routing: {:partition, 2})
    {:ok, ids} = PulsarManager.send_messages(producer, for(n <- 1..20, do: {"x", key: "#{n}"}))
    assert ids |> Enum.map(&MessageId.partition/1) |> Enum.uniq() == [2]

    for routing <- [:java_hash, :murmur3] do
      producer = producer!(manager, topic, routing: routing)
      keyed = for n <- 1..60, do: {"#{n}", key: "key #{rem(n, 12)}"}
      {:ok, ids} = PulsarManager.send_messages(producer, keyed)
      partitions = Enum.map(ids, &MessageId.partition/1)
      assert partitions |> Enum.uniq() |> Enum.sort() == [0, 1, 2]
      assert partitions == Enum.flat_map(1..5, fn _ -> Enum.take(partitions, 12) end)
    end

    producer = producer!(manager, topic)
    lists = for _ <- 1..3, do: elem({:ok, _} = PulsarManager.send_messages(producer, ~w(a b)), 1)
    partitions = for list <- lists, do: list |> Enum.map(&MessageId.partition/1) |> Enum.uniq()
    assert Enum.all?(partitions, &match?([_], &1)), "a batch without keys goes to one partition"
    assert partitions |> Enum.uniq() |> length() > 1
  end

  test "an invalid message is refused with its reason, and nothing of its list is sent",
       context do
    producer = context.producer
    too_many = [deliver_at: 1, deliver_after: 1]

    for {payload, options, key} <- [
          {:atom, [], :payload},
          {"x", [key: ""], :key},
          {"x", [properties: %{"a" => 1}], :properties},
          {"x", [event_time: -1], :event_time},
          {"x", too_many, :deliver_at}
        ] do
      assert {:error, {:invalid_option, ^key, _, allowed}} =
               PulsarManager.send_message(producer, payload, options)

      assert is_binary(allowed)

      assert {:error, {:invalid_option, ^key, _, _}} =
               PulsarManager.send_messages(producer, ["good", {payload, options}])
    end

    assert receive_rest(context.consumer, producer) == []
  end

  defp receive_messages_acking(consumer, count, received \\ []) do
    if length(received) >= count do
      received
    else
      messages = receive_messages(consumer, 1)
      :ok = PulsarManager.ack(consumer, messages)
      receive_messages_acking(consumer, count, received ++ messages)
    end
  end
end
