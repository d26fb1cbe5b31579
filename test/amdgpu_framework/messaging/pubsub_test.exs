defmodule AMDGPUFramework.Messaging.PubSubTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.PubSub

  setup do
    {:ok, topic: "topic_#{System.unique_integer([:positive])}"}
  end

  test "subscribers get what is published, in order, and others do not", %{topic: topic} do
    :ok = PubSub.subscribe(topic)
    :ok = PubSub.broadcast(topic <> "_other", [:not_this])
    :ok = PubSub.broadcast(topic, [:one, :two])
    assert {:messages, [:one, :two]} = Process.info(self(), :messages)
  end

  test "after unsubscribing nothing comes", %{topic: topic} do
    :ok = PubSub.subscribe(topic)
    :ok = PubSub.unsubscribe(topic)
    :ok = PubSub.broadcast(topic, [:one])
    refute_received _
  end

  test "servers of different names are apart", %{topic: topic} do
    :ok = PubSub.subscribe(:one_server, topic)
    :ok = PubSub.broadcast(:another_server, topic, [:not_this])
    :ok = PubSub.broadcast(:one_server, topic, [:this])
    assert {:messages, [:this]} = Process.info(self(), :messages)
  end

  test "a subscriber that is behind misses messages, the others do not", %{topic: topic} do
    limit = AMDGPUFramework.Messaging.BoundedSend.limit()
    test = self()

    slow =
      spawn_link(fn ->
        :ok = PubSub.subscribe(topic)
        send(test, :subscribed)
        receive do: (:end -> :ok)
      end)

    assert_receive :subscribed
    for _ <- 1..limit, do: send(slow, :filling)
    :ok = PubSub.subscribe(topic)
    :ok = PubSub.broadcast(topic, [:news])
    assert_received :news
    assert {:message_queue_len, ^limit} = Process.info(slow, :message_queue_len)
    assert PubSub.dropped() >= 1
    send(slow, :end)
  end

  test "as Phoenix's dispatcher: everyone but the sender" do
    other = self()
    sender = spawn_link(fn -> receive do: (:end -> :ok) end)
    assert :ok = PubSub.dispatch([{other, nil}, {sender, nil}], sender, :hello)
    assert_received :hello
    assert {:message_queue_len, 0} = Process.info(sender, :message_queue_len)
    send(sender, :end)
  end
end
