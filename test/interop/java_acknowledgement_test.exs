defmodule AMDGPUFramework.Interop.JavaAcknowledgementTest do
  use AMDGPUFramework.E2ECase, async: false

  alias AMDGPUFramework.JavaClient

  @moduletag :interop

  setup_all do
    broker = TestBroker.shared()
    [broker: broker, java: JavaClient.start!(broker.service_url)]
  end

  setup %{broker: broker} do
    topic = TestBroker.topic("acks")
    manager = start_manager(broker)
    producer = producer!(manager, topic)
    {:ok, ids} = PulsarManager.send_messages(producer, ~w(0 1 2 3 4 5 6 7 8 9))
    assert MessageId.batch_size(hd(ids)) == 10
    [topic: topic, manager: manager, producer: producer]
  end

  test "Java does not get what we acknowledged inside a batch", context do
    consumer = consumer!(context.manager, context.topic, :exclusive)
    messages = receive_messages(consumer, 10)
    :ok = PulsarManager.ack(consumer, Enum.filter(messages, &(&1.payload in ["0", "3", "7"])))
    :ok = PulsarManager.close(consumer)

    assert java_receives(context, 7) == ~w(1 2 4 5 6 8 9)
  end

  test "nor what we acknowledged cumulatively", context do
    consumer = consumer!(context.manager, context.topic, :exclusive)
    messages = receive_messages(consumer, 10)
    :ok = PulsarManager.ack_cumulative(consumer, Enum.at(messages, 6))
    :ok = PulsarManager.close(consumer)

    assert java_receives(context, 3) == ~w(7 8 9)
  end

  test "we do not get what Java acknowledged inside a batch", context do
    received = java_takes(context, 10)

    for %{"value" => value} = message <- received,
        Base.decode64!(value) in ["2", "9"],
        do: java_acknowledges(context, message, false)

    java_close(context)

    consumer = consumer!(context.manager, context.topic, :exclusive)
    assert payloads(receive_rest(consumer, context.producer)) == ~w(0 1 3 4 5 6 7 8)
  end

  test "nor what Java acknowledged cumulatively", context do
    received = java_takes(context, 10)
    java_acknowledges(context, Enum.at(received, 4), true)
    java_close(context)

    consumer = consumer!(context.manager, context.topic, :exclusive)
    assert payloads(receive_rest(consumer, context.producer)) == ~w(5 6 7 8 9)
  end

  # A last message from us proves that nothing else is to come.
  defp java_receives(context, count) do
    {:ok, _} = PulsarManager.send_message(context.producer, "last")
    values = context |> java_takes(count + 1) |> Enum.map(&Base.decode64!(&1["value"]))
    assert List.last(values) == "last"
    Enum.drop(values, -1)
  end

  defp java_takes(%{java: java, topic: topic}, count) do
    arguments = %{consumer: "java", topic: topic, subscription: "test"}
    JavaClient.call!(java, "subscribe", arguments)
    answer = JavaClient.call!(java, "receive", %{consumer: "java", count: count})
    answer["messages"]
  end

  defp java_acknowledges(%{java: java, topic: topic}, message, cumulative?) do
    JavaClient.call!(java, "acknowledge", %{
      consumer: "java",
      topic: topic,
      id: message["id"]["bytes"],
      cumulative: cumulative?
    })
  end

  defp java_close(%{java: java}), do: JavaClient.call!(java, "close", %{consumer: "java"})
end
