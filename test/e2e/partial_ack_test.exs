defmodule AMDGPUFramework.E2E.PartialAckTest do
  use AMDGPUFramework.E2ECase, async: true

  setup_all do
    [broker: TestBroker.shared()]
  end

  setup %{broker: broker} do
    topic = TestBroker.topic("partial-ack")
    manager = start_manager(broker)
    [manager: manager, topic: topic, producer: producer!(manager, topic)]
  end

  for sub_type <- [:shared, :key_shared, :exclusive, :failover] do
    test "acknowledging one of a batch of ten brings back the other nine (#{sub_type})",
         context do
      sub_type = unquote(sub_type)
      consumer = consumer!(context.manager, context.topic, sub_type)
      send_batch(context.producer, 10)
      messages = receive_messages(consumer, 10)

      :ok = PulsarManager.ack(consumer, Enum.at(messages, 3))
      :ok = PulsarManager.close(consumer)

      again = consumer!(context.manager, context.topic, sub_type)
      assert payloads(receive_rest(again, context.producer)) == batch(10) -- ["3"]
    end
  end

  test "acknowledging by id is as good, also by one that was kept as bytes", context do
    consumer = consumer!(context.manager, context.topic)
    send_batch(context.producer, 10)
    messages = receive_messages(consumer, 10)

    {:ok, kept} =
      Enum.at(messages, 5).message_id
      |> MessageId.to_binary()
      |> MessageId.from_binary(context.topic)

    :ok = PulsarManager.ack(consumer, [Enum.at(messages, 4).message_id, kept])
    :ok = PulsarManager.close(consumer)

    again = consumer!(context.manager, context.topic)
    assert payloads(receive_rest(again, context.producer)) == batch(10) -- ["4", "5"]
  end

  test "the last acknowledgement of a batch ends it", context do
    consumer = consumer!(context.manager, context.topic)
    send_batch(context.producer, 10)
    messages = receive_messages(consumer, 10)
    for message <- Enum.reverse(messages), do: :ok = PulsarManager.ack(consumer, message)
    :ok = PulsarManager.close(consumer)

    again = consumer!(context.manager, context.topic)
    assert receive_rest(again, context.producer) == []
  end

  test "acknowledgements of one batch in two lives of a consumer add up", context do
    for lost <- [["1", "2"], ["7"]] do
      consumer = consumer!(context.manager, context.topic)
      if lost == ["1", "2"], do: send_batch(context.producer, 10)
      messages = receive_messages(consumer, if(lost == ["7"], do: 8, else: 10))
      :ok = PulsarManager.ack(consumer, Enum.filter(messages, &(&1.payload in lost)))
      :ok = PulsarManager.close(consumer)
    end

    again = consumer!(context.manager, context.topic)
    assert payloads(receive_rest(again, context.producer)) == batch(10) -- ["1", "2", "7"]
  end

  test "a cumulative acknowledgement inside a batch leaves the rest of it", context do
    consumer = consumer!(context.manager, context.topic, :exclusive)
    send_batch(context.producer, 10)
    messages = receive_messages(consumer, 10)

    :ok = PulsarManager.ack_cumulative(consumer, Enum.at(messages, 5))
    :ok = PulsarManager.close(consumer)

    again = consumer!(context.manager, context.topic, :exclusive)
    assert payloads(receive_rest(again, context.producer)) == ~w(6 7 8 9)
  end

  test "a cumulative acknowledgement takes the batches before with it", context do
    consumer = consumer!(context.manager, context.topic, :failover)
    for _ <- 1..3, do: send_batch(context.producer, 10)
    messages = receive_messages(consumer, 30)

    :ok = PulsarManager.ack_cumulative(consumer, Enum.at(messages, 24).message_id)
    :ok = PulsarManager.close(consumer)

    again = consumer!(context.manager, context.topic, :failover)
    assert payloads(receive_rest(again, context.producer)) == ~w(5 6 7 8 9)
  end

  for sub_type <- [:shared, :exclusive] do
    test "a nack brings back what is not acknowledged, and only that (#{sub_type})", context do
      consumer = consumer!(context.manager, context.topic, unquote(sub_type), nack_delay: 100)
      send_batch(context.producer, 10)
      messages = receive_messages(consumer, 10)
      {acked, [nacked | _rest]} = Enum.split(messages, 3)

      :ok = PulsarManager.ack(consumer, acked)
      :ok = PulsarManager.nack(consumer, nacked)

      again = receive_messages(consumer, 7)
      assert payloads(again) == ~w(3 4 5 6 7 8 9)
      # The broker counts only where others share the subscription.
      counted? = Enum.all?(again, &(&1.redelivery_count > 0))
      assert counted? == (unquote(sub_type) == :shared)

      :ok = PulsarManager.ack(consumer, again)
      assert receive_rest(consumer, context.producer) == []
    end
  end

  test "cumulative acknowledgement is refused where others share the subscription", context do
    for sub_type <- [:shared, :key_shared] do
      consumer = consumer!(context.manager, context.topic, sub_type, subscription: "#{sub_type}")

      [message | _] = send_batch(context.producer, 2) && receive_messages(consumer, 2)
      assert {:error, :not_allowed} = PulsarManager.ack_cumulative(consumer, message)
    end
  end

  test "a batch larger than the window does not stall", context do
    consumer = consumer!(context.manager, context.topic, :shared, receiver_queue_size: 10)

    for _ <- 1..4 do
      send_batch(context.producer, 500)
      messages = receive_messages(consumer, 500)
      assert payloads(messages) == batch(500)
      Enum.each(messages, &(:ok = PulsarManager.ack(consumer, &1)))
    end

    assert receive_rest(consumer, context.producer) == []
  end

  # A list is one batch while its producer has nothing in flight.
  defp send_batch(producer, count) do
    {:ok, ids} = PulsarManager.send_messages(producer, batch(count))
    assert Enum.map(ids, &MessageId.batch_index/1) == Enum.to_list(0..(count - 1))
    assert ids |> Enum.map(&MessageId.entry_id/1) |> Enum.uniq() |> length() == 1
    assert MessageId.batch_size(hd(ids)) == count
    ids
  end

  defp batch(count), do: Enum.map(0..(count - 1), &Integer.to_string/1)
end
