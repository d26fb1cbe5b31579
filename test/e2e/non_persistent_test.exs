defmodule AMDGPUFramework.E2E.NonPersistentTest do
  use AMDGPUFramework.E2ECase, async: true

  # The broker gives all messages of such a topic the same id, and drops what a consumer has no room for.

  setup_all do
    [broker: TestBroker.shared()]
  end

  setup %{broker: broker} do
    "persistent://" <> path = TestBroker.topic("non-persistent")
    [manager: start_manager(broker), topic: "non-persistent://" <> path]
  end

  for sub_type <- [:shared, :exclusive], batched? <- [true, false] do
    test "a prompt owner gets every message (#{sub_type}, batched: #{batched?})", context do
      %{manager: manager, topic: topic} = context
      consumer = consumer!(manager, topic, unquote(sub_type))
      batch_size = if unquote(batched?), do: 1000, else: 1
      producer = producer!(manager, topic, batch_size: batch_size)

      for n <- 1..300 do
        list = for i <- 1..10, do: "#{n}.#{i}"
        assert {:ok, _} = PulsarManager.send_messages(producer, list)
        messages = receive_messages(consumer, 10)
        assert payloads(messages) == list
        :ok = PulsarManager.ack(consumer, messages)
      end

      assert {:ok, %{message_count: 3_000}} = PulsarManager.stats(consumer)
      assert eventually(fn -> match?({:ok, %{unacked: 0}}, PulsarManager.stats(consumer)) end)
      assert receive_rest(consumer, producer) == []
    end
  end

  test "messages that are held are messages, though their ids in the broker are one", context do
    consumer = consumer!(context.manager, context.topic)
    producer = producer!(context.manager, context.topic)
    for n <- 1..10, do: {:ok, _} = PulsarManager.send_message(producer, "#{n}")

    messages = receive_messages(consumer, 10)
    assert payloads(messages) == Enum.map(1..10, &Integer.to_string/1)
    assert {:ok, %{unacked: 10}} = PulsarManager.stats(consumer)

    for message <- Enum.reverse(messages), do: :ok = PulsarManager.ack(consumer, message)
    assert eventually(fn -> match?({:ok, %{unacked: 0}}, PulsarManager.stats(consumer)) end)
  end

  test "a nack does no harm: nothing stored can come again, and what follows comes", context do
    consumer = consumer!(context.manager, context.topic, :shared, nack_delay: 0)
    producer = producer!(context.manager, context.topic)
    {:ok, _} = PulsarManager.send_messages(producer, ["a", "b"])
    :ok = PulsarManager.nack(consumer, receive_messages(consumer, 2))
    {:ok, _} = PulsarManager.send_message(producer, "c")
    assert ["c"] = payloads(receive_messages(consumer, 1))
  end
end
