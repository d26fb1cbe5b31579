defmodule AMDGPUFramework.Attack.OwnersTest do
  use AMDGPUFramework.E2ECase, async: false

  alias AMDGPUFramework.Messaging.Handles

  @moduletag timeout: 180_000
  @owners 2_000
  @mib 1_048_576

  setup_all do
    [broker: TestBroker.shared()]
  end

  test "two thousand owners killed at any moment leave nothing", %{broker: broker} do
    manager = start_manager(broker)
    topic = TestBroker.topic("killed")
    :rand.seed(:exsss, {4, 5, 6})
    # Keeps the topic, and warms up what is allocated once.
    producer = producer!(manager, topic)
    kill(200, manager, topic)
    assert eventually(fn -> match?({0, _, _, _, _}, left(manager, topic)) end, 30_000)
    before = left(manager, topic)
    memory = memory()

    kill(@owners, manager, topic)

    assert eventually(fn -> left(manager, topic) == before end, 30_000),
           inspect({before, left(manager, topic)})

    assert eventually(fn -> admin(broker, topic) == {1, 0} end, 30_000),
           inspect(admin(broker, topic))

    assert memory() - memory < 16 * @mib
    assert {:ok, _} = PulsarManager.send_message(producer, "still here")
  end

  test "a manager's death ends what it owned, and nothing else", %{broker: broker} do
    name = :"attack_#{System.unique_integer([:positive])}"

    config = [
      name: name,
      broker_service_url: broker.service_url,
      admin_service_url: broker.admin_url
    ]

    start_supervised!({PulsarManager, config})
    :ok = PulsarManager.subscribe(name)
    topic = TestBroker.topic("restart")

    producer = producer!(name, topic)
    consumer = consumer!(name, topic)
    {:ok, _} = PulsarManager.send_message(producer, "before")
    assert [%{payload: "before"}] = before = receive_messages(consumer, 1)

    for _ <- 1..3 do
      killed = Process.whereis(name)
      Process.exit(killed, :kill)
      assert eventually(fn -> Process.whereis(name) not in [nil, killed] end)
    end

    # What the manager owned is closed, and its id free; the consumer is this process's.
    assert_receive {:pulsar_event, %{event_type: "producer_closed", producer_id: ^producer}},
                   10_000

    assert eventually(fn -> PulsarManager.lookup(producer) == {:error, :not_found} end)
    assert {:ok, ^producer} = PulsarManager.create_producer(topic, producer, manager: name)
    assert {:ok, _} = PulsarManager.send_message(producer, "after")
    assert [%{payload: "after"}] = after_it = receive_messages(consumer, 1)
    assert :ok = PulsarManager.ack(consumer, before ++ after_it)

    # Events of what the first manager opened reach the one that runs now, and its subscribers.
    {:ok, %{consumer_disconnects: 0}} = PulsarManager.stats(name)

    {200, _} =
      TestBroker.request(broker, :put, "/admin/v2/" <> path(topic) <> "/unload") |> unloaded()

    assert_receive {:pulsar_event,
                    %{event_type: "consumer_disconnected", consumer_id: ^consumer}},
                   20_000

    assert eventually(fn ->
             match?({:ok, %{consumer_disconnects: 1}}, PulsarManager.stats(name))
           end)

    {:ok, _} = PulsarManager.send_message(producer, "moved")
    assert [%{payload: "moved"}] = receive_messages(consumer, 1)
    assert :ok = PulsarManager.close(consumer)
    assert {:error, :not_found} = PulsarManager.lookup(consumer)
  end

  defp kill(count, manager, topic) do
    for numbers <- Enum.chunk_every(1..count, 50) do
      monitors =
        for number <- numbers do
          {pid, monitor} = spawn_monitor(fn -> own(rem(number, 4), manager, topic) end)
          :timer.kill_after(:rand.uniform(30), pid)
          monitor
        end

      for monitor <- monitors, do: assert_receive({:DOWN, ^monitor, :process, _, _}, 30_000)
    end
  end

  defp own(0, manager, topic) do
    producer!(manager, topic, owner: self())
    Process.sleep(:infinity)
  end

  defp own(1, manager, topic) do
    consumer!(manager, topic)
    Process.sleep(:infinity)
  end

  defp own(2, manager, topic) do
    producer = producer!(manager, topic, owner: self())
    PulsarManager.send_messages_async(producer, List.duplicate("x", 200))
    PulsarManager.close(producer)
    Process.sleep(:infinity)
  end

  defp own(3, manager, topic) do
    consumer = consumer!(manager, topic)
    PulsarManager.ack(consumer, receive_messages(consumer, 1))
    PulsarManager.close(consumer)
    Process.sleep(:infinity)
  end

  defp left(manager, topic) do
    {:ok, %{creations_pending: creations}} = PulsarManager.stats(manager)
    full = "persistent://public/default/"

    handles =
      for {_id, _kind, _instance, handle, info} <- :ets.tab2list(Handles),
          handle == nil or info[:topic] == topic or info[:topics] == [topic],
          do: {full, handle && handle.kind}

    reservations = map_size(:sys.get_state(Handles))
    {_, links} = Process.info(manager, :links)
    {_, monitors} = Process.info(manager, :monitors)
    {creations, handles, reservations, length(links), length(monitors)}
  end

  defp admin(broker, topic) do
    {200, body} = TestBroker.request(broker, :get, "/admin/v2/#{path(topic)}/stats")
    {:ok, stats} = AMDGPUFramework.Messaging.JSON.decode(body)
    {length(stats["publishers"]), length(stats["subscriptions"]["test"]["consumers"])}
  end

  defp path("persistent://" <> name), do: "persistent/" <> name

  defp unloaded({204, body}), do: {200, body}
  defp unloaded(other), do: other

  defp memory do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    :erlang.memory(:total)
  end
end
