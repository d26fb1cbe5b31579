defmodule AMDGPUFramework.E2E.OutageTest do
  use AMDGPUFramework.E2ECase, async: false

  @moduletag timeout: 300_000

  setup_all do
    broker = TestBroker.start!()
    [broker: broker, info: Standalone.info(broker)]
  end

  setup %{info: info} do
    manager = start_manager(info, operation_timeout: 5_000)
    [manager: manager, topic: TestBroker.topic("outage")]
  end

  test "while the broker is gone the bounds hold, and afterwards everything goes on", context do
    %{broker: broker, manager: manager, topic: topic} = context
    options = [block: false, max_pending_messages: 100, send_timeout: 120_000]
    bounded = producer!(manager, topic, options)
    blocking = producer!(manager, topic, max_pending_messages: 10, send_timeout: 120_000)
    consumer = consumer!(manager, topic)
    {:ok, _} = PulsarManager.send_message(bounded, "before")
    assert ["before"] = payloads(receive_messages(consumer, 1))

    :ok = Standalone.kill(broker)

    assert_receive {:pulsar_event,
                    %{event_type: "consumer_disconnected", consumer_id: ^consumer}},
                   30_000

    assert_receive {:pulsar_event, %{event_type: "producer_disconnected", producer_id: ^bounded}},
                   30_000

    refs = for n <- 1..100, do: elem({:ok, _} = PulsarManager.send_async(bounded, "#{n}"), 1)
    assert {:error, :queue_full} = PulsarManager.send_async(bounded, "too much")
    assert {:error, :queue_full} = PulsarManager.send_message(bounded, "too much")
    assert {:ok, %{pending_messages: 100, connected: 0}} = PulsarManager.stats(bounded)

    blocked = Task.async(fn -> fill(blocking) end)

    assert eventually(fn ->
             match?({:ok, %{pending_messages: 10}}, PulsarManager.stats(blocking))
           end)

    assert {:error, :queue_full} = PulsarManager.send_message(blocking, "patient", timeout: 200)
    assert Task.yield(blocked, 0) == nil

    :ok = Standalone.restart(broker)

    for ref <- refs, do: assert_receive({^ref, {:ok, %MessageId{}}}, 60_000)
    assert Task.await(blocked, 60_000) == :sent

    assert_receive {:pulsar_event, %{event_type: "consumer_reconnected", consumer_id: ^consumer}},
                   60_000

    assert_receive {:pulsar_event, %{event_type: "producer_reconnected", producer_id: ^bounded}},
                   60_000

    received = consumer |> receive_messages(130) |> payloads() |> MapSet.new()
    for n <- 1..100, do: assert("#{n}" in received)
    for n <- 1..30, do: assert("blocking #{n}" in received)
    refute "too much" in received
    refute "patient" in received
  end

  test "a message that is not confirmed in time fails with its outcome unknown", context do
    producer = producer!(context.manager, context.topic, send_timeout: 500)
    {:ok, _} = PulsarManager.send_message(producer, "before")
    :ok = Standalone.kill(context.broker)

    assert {:error, :send_timeout} = PulsarManager.send_message(producer, "x")
    assert {:error, {:send_timeout, partial}} = PulsarManager.send_messages(producer, ["x", "y"])
    assert partial == [{:error, :send_timeout}, {:error, :send_timeout}]
    assert {:error, :send_timeout} = PulsarManager.send_message(producer, "x", timeout: 50)
    assert {:ok, %{connected: false}} = PulsarManager.health(context.manager)

    :ok = Standalone.restart(context.broker)

    assert eventually(
             fn -> match?({:ok, _}, PulsarManager.send_message(producer, "again")) end,
             60_000
           )
  end

  # Three times as many as may be pending: the caller waits, and order is kept.
  defp fill(producer) do
    for n <- 1..30, do: {:ok, _} = PulsarManager.send_async(producer, "blocking #{n}")
    :sent
  end
end
