defmodule AMDGPUFramework.Interop.JavaPartitionsTest do
  use AMDGPUFramework.E2ECase, async: false

  alias AMDGPUFramework.JavaClient

  @moduletag :interop

  @partitions 4
  # Beyond ASCII, beyond the 16-bit plane, and long enough for every branch of the hashes.
  @keys ~w(a b key-1 key-2 0123456789abcdef größe ключ 日本語 😀 👩‍🔬 polygenelubricants) ++
          [String.duplicate("long ", 50), " ", "e\u0301", "\u0000"]

  setup_all do
    broker = TestBroker.shared()
    [broker: broker, java: JavaClient.start!(broker.service_url)]
  end

  for {routing, hashing} <- [java_hash: "JavaStringHash", murmur3: "Murmur3_32Hash"] do
    test "a key has the same partition for Java and for us: #{hashing}", %{
      broker: broker,
      java: java
    } do
      topic = create_partitions(broker, TestBroker.topic("partitions"), @partitions)
      messages = for key <- @keys, do: %{value: Base.encode64(key), key: key}
      produce = %{topic: topic, hashing: unquote(hashing), messages: messages}
      %{"ids" => ids} = JavaClient.call!(java, "produce", produce)
      theirs = Enum.map(ids, & &1["partition"])

      producer = producer!(start_manager(broker), topic, routing: unquote(routing))
      {:ok, ids} = PulsarManager.send_messages(producer, for(key <- @keys, do: {key, key: key}))

      assert Enum.map(ids, &MessageId.partition/1) == theirs
      assert theirs |> Enum.uniq() |> length() > 1
    end
  end

  test "what both send to the partitions is one topic for both", %{broker: broker, java: java} do
    topic = create_partitions(broker, TestBroker.topic("partitions"), @partitions)
    manager = start_manager(broker)
    consumer = consumer!(manager, topic, :key_shared)
    messages = for key <- @keys, do: %{value: Base.encode64("java"), key: key}
    JavaClient.call!(java, "produce", %{topic: topic, messages: messages})
    producer = producer!(manager, topic)
    {:ok, _} = PulsarManager.send_messages(producer, for(key <- @keys, do: {"ours", key: key}))

    received = receive_messages(consumer, 2 * length(@keys))
    by_key = Enum.group_by(received, & &1.key)
    assert by_key |> Map.keys() |> Enum.sort() == Enum.sort(@keys)

    for {key, messages} <- by_key do
      assert payloads(messages) == ["java", "ours"], "order of #{inspect(key)}"
      assert [_] = messages |> Enum.map(& &1.topic) |> Enum.uniq()
      assert hd(messages).topic =~ ~r/^#{Regex.escape(topic)}-partition-[0-3]$/
    end
  end
end
