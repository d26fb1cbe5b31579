defmodule AMDGPUFramework.Interop.JavaClientTest do
  use AMDGPUFramework.E2ECase, async: false

  alias AMDGPUFramework.JavaClient

  @moduletag :interop

  @compressions %{none: "NONE", lz4: "LZ4", zlib: "ZLIB", zstd: "ZSTD", snappy: "SNAPPY"}
  @event_time 1_700_000_000_123

  setup_all do
    broker = TestBroker.shared()
    [broker: broker, java: JavaClient.start!(broker.service_url)]
  end

  setup %{broker: broker} do
    [manager: start_manager(broker), topic: TestBroker.topic("interop")]
  end

  for {ours, theirs} <- @compressions, batched? <- [true, false] do
    test "Java sends, we read: #{theirs}, #{if batched?, do: "batched", else: "single"}",
         context do
      consumer = consumer!(context.manager, context.topic, :exclusive)

      %{"ids" => ids} =
        JavaClient.call!(context.java, "produce", %{
          topic: context.topic,
          compression: unquote(theirs),
          batched: unquote(batched?),
          messages: Enum.map(samples(), &for_java/1)
        })

      messages = receive_messages(consumer, length(samples()))
      assert Enum.map(messages, &read/1) == samples()
      assert Enum.map(messages, &place(&1.message_id)) == Enum.map(ids, &java_place/1)

      size = if unquote(batched?), do: length(samples()), else: 0
      assert Enum.all?(messages, &(MessageId.batch_size(&1.message_id) == size))
    end

    test "we send, Java reads: #{theirs}, #{if batched?, do: "batched", else: "single"}",
         context do
      batch_size = if unquote(batched?), do: 1000, else: 1
      options = [compression: unquote(ours), batch_size: batch_size]
      producer = producer!(context.manager, context.topic, options)
      {:ok, ids} = PulsarManager.send_messages(producer, Enum.map(samples(), &for_us/1))

      received = java_receives(context, length(samples()))
      assert Enum.map(received, &java_read/1) == samples()
      assert Enum.map(received, &java_place(&1["id"])) == Enum.map(ids, &place/1)
      assert Enum.all?(received, &(&1["producer_name"] == producer))
    end
  end

  test "keys that are bytes come as they were sent", context do
    consumer = consumer!(context.manager, context.topic, :exclusive)

    for batched? <- [true, false] do
      JavaClient.call!(context.java, "produce", %{
        topic: context.topic,
        batched: batched?,
        messages: [%{value: base64("v"), key_bytes: base64(<<0, 255, 128>>)}]
      })

      assert receive_message(consumer).key == <<0, 255, 128>>
    end
  end

  test "tombstones are tombstones, and empty messages are not", context do
    consumer = consumer!(context.manager, context.topic, :exclusive)
    messages = [%{value: nil, key: "k"}, %{value: "", key: "k"}]
    JavaClient.call!(context.java, "produce", %{topic: context.topic, messages: messages})
    assert payloads(receive_messages(consumer, 2)) == [nil, ""]

    other = TestBroker.topic("interop")
    producer = producer!(context.manager, other)
    {:ok, _} = PulsarManager.send_messages(producer, [{nil, key: "k"}, {"", key: "k"}])
    received = java_receives(%{context | topic: other}, 2)
    assert Enum.map(received, & &1["value"]) == [nil, ""]
  end

  test "message ids are the same bytes for both", context do
    producer = producer!(context.manager, context.topic)
    {:ok, [_, id]} = PulsarManager.send_messages(producer, ["a", "b"])
    {:ok, alone} = PulsarManager.send_message(producer, "c", deliver_after: 0)

    for id <- [id, alone] do
      binary = MessageId.to_binary(id)
      read = JavaClient.call!(context.java, "read_id", %{id: base64(binary)})
      assert java_place(read) == place(id)
    end

    for received <- java_receives(context, 3) do
      assert {:ok, id} =
               MessageId.from_binary(Base.decode64!(received["id"]["bytes"]), context.topic)

      assert place(id) == java_place(received["id"])
      assert MessageId.batch_size(id) == received["id"]["batch_size"]
    end
  end

  test "a position that Java wrote is one to seek to", context do
    messages = for n <- 1..6, do: %{value: base64("#{n}")}
    produce = %{topic: context.topic, messages: messages}
    %{"ids" => ids} = JavaClient.call!(context.java, "produce", produce)
    consumer = consumer!(context.manager, context.topic, :exclusive)
    received = receive_messages(consumer, 6)
    :ok = PulsarManager.ack(consumer, received)

    {:ok, third} = MessageId.from_binary(Base.decode64!(Enum.at(ids, 2)["bytes"]), context.topic)
    :ok = PulsarManager.seek(consumer, third)
    assert payloads(receive_messages(consumer, 3)) == ~w(4 5 6)
  end

  defp samples do
    [
      sample("plain text", nil, nil, %{}, nil),
      sample("größe", "Schlüssel", nil, %{"größe" => "viel", "b" => ""}, @event_time),
      sample(
        String.duplicate("0123456789", 2_000),
        "k",
        <<1, 0, 254>>,
        %{"x" => "y"},
        @event_time
      ),
      sample(<<0, 255, 1, 254>>, "😀", nil, %{}, nil)
    ]
  end

  defp sample(payload, key, ordering_key, properties, event_time) do
    %{
      payload: payload,
      key: key,
      ordering_key: ordering_key,
      properties: properties,
      event_time: event_time
    }
  end

  defp for_us(%{payload: payload} = sample),
    do: {payload, sample |> Map.delete(:payload) |> Map.reject(fn {_, value} -> value == nil end)}

  defp for_java(sample) do
    %{
      value: base64(sample.payload),
      properties: sample.properties,
      key: sample.key,
      ordering_key: sample.ordering_key && base64(sample.ordering_key),
      event_time: sample.event_time
    }
    |> Map.reject(fn {_, value} -> value == nil end)
  end

  defp read(message),
    do: Map.take(message, [:payload, :key, :ordering_key, :properties, :event_time])

  defp java_read(received) do
    sample(
      Base.decode64!(received["value"]),
      received["key"],
      received["ordering_key"] && Base.decode64!(received["ordering_key"]),
      received["properties"],
      if(received["event_time"] == 0, do: nil, else: received["event_time"])
    )
  end

  defp java_receives(%{java: java, topic: topic}, count) do
    subscribe = %{consumer: "reader", topic: topic, subscription: "java"}
    JavaClient.call!(java, "subscribe", subscribe)
    arguments = %{consumer: "reader", count: count}
    %{"messages" => messages} = JavaClient.call!(java, "receive", arguments)
    messages
  end

  defp place(id) do
    {MessageId.ledger_id(id), MessageId.entry_id(id), MessageId.partition(id),
     MessageId.batch_index(id)}
  end

  defp java_place(id), do: {id["ledger"], id["entry"], id["partition"], id["batch_index"]}

  defp base64(binary), do: Base.encode64(binary)
end
