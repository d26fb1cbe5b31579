defmodule AMDGPUFramework.Messaging.ManagerServerTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureLog

  alias AMDGPUFramework.Messaging.{
    ClusterConfig,
    Creation,
    Events,
    Handle,
    Handles,
    ManagerServer
  }

  # The callbacks, without a client: what the manager does with answers, deadlines and events.

  setup do
    number = System.unique_integer([:positive])
    {:ok, config} = ClusterConfig.new(name: :"manager_#{number}")

    {:ok,
     state: %ManagerServer{key: config.name, config: config, client: make_ref()},
     id: "id_#{number}",
     tag: number}
  end

  defp creation(id, kind \\ :producer) do
    {:ok, creation} =
      case kind do
        :producer ->
          Creation.producer("persistent://public/default/t", id, [])

        :consumer ->
          Creation.consumer("persistent://public/default/t", "s", id, :shared, paused: true)
      end

    {:ok, instance} = Handles.reserve(id, kind)

    %{
      creation
      | instance: instance,
        owner: self(),
        manager: :m,
        from: {self(), make_ref()},
        monitor: Process.monitor(self()),
        timer: Process.send_after(self(), :never, 60_000)
    }
  end

  defp under_way(state, creation) do
    ref = make_ref()
    {ref, %{state | creations: %{ref => creation}}}
  end

  test "an opened producer is found under its id, and the caller is told", %{state: state, id: id} do
    for kind <- [:producer, :consumer] do
      id = "#{id}_#{kind}"
      %{from: {_, tag}} = creation = creation(id, kind)
      {ref, state} = under_way(state, creation)
      native = make_ref()

      assert {:noreply, %{creations: creations}} =
               ManagerServer.handle_info({ref, {:ok, native}}, state)

      assert creations == %{}
      assert_received {^tag, {:ok, ^id}}

      assert {:ok, %Handle{native: ^native, kind: ^kind, manager: :m} = handle} =
               Handles.fetch(id)

      assert {:ok, %{created_at: %DateTime{}}} = Handles.info(handle)
    end
  end

  test "a creation that fails frees its id", %{state: state, id: id} do
    %{from: {_, tag}} = creation = creation(id)
    {ref, state} = under_way(state, creation)
    error = {:error, {:broker, :producer_busy, "busy"}}
    assert {:noreply, %{creations: creations}} = ManagerServer.handle_info({ref, error}, state)
    assert creations == %{}
    assert_received {^tag, ^error}
    assert {:ok, _} = Handles.reserve(id, :producer)
  end

  test "a creation that takes too long is an error of its kind, and frees its id", %{
    state: state,
    id: id
  } do
    for {kind, reason} <- [
          producer: :producer_creation_timeout,
          consumer: :consumer_creation_timeout
        ] do
      id = "#{id}_#{kind}"
      %{from: {_, tag}} = creation = creation(id, kind)
      {ref, state} = under_way(state, creation)
      assert {:noreply, state} = ManagerServer.handle_info({:creation_timeout, ref}, state)
      assert_received {^tag, {:error, ^reason}}
      assert {:ok, _} = Handles.reserve(id, kind)

      # The answer is still expected; it is told to nobody, and the id stays with its new holder.
      assert {:noreply, state} = ManagerServer.handle_info({:creation_timeout, ref}, state)

      assert {:noreply, %{creations: creations}} =
               ManagerServer.handle_info({ref, {:error, :timeout}}, state)

      assert creations == %{}
      refute_received {^tag, _}
      assert {:error, {:already_exists, ^id}} = Handles.reserve(id, kind)
    end
  end

  test "the creation of a caller that died frees its id", %{state: state, id: id} do
    creation = creation(id)
    {ref, state} = under_way(state, creation)
    down = {:DOWN, creation.monitor, :process, self(), :killed}
    assert {:noreply, state} = ManagerServer.handle_info(down, state)
    assert %{creations: %{^ref => %{from: nil}}} = state
    assert {:ok, _} = Handles.reserve(id, :producer)
  end

  test "without the process that hands on events it stops", %{state: state} do
    monitor = make_ref()
    down = {:DOWN, monitor, :process, self(), :killed}
    assert {:stop, :events_down, _} = ManagerServer.handle_info(down, %{state | events: monitor})
  end

  test "events are counted", %{state: state} do
    events = [
      %{event_type: "message_published", producer_id: "p", count: 10, bytes: 1000, failed: 1},
      %{event_type: "message_published", producer_id: "p", count: 5, bytes: 500, failed: 0},
      %{
        event_type: "gpu_processing_completed",
        consumer_id: "c",
        device: "cpu:0",
        count: 7,
        failed: 2,
        processing_time_us: 3
      },
      %{event_type: "something new"}
    ]

    state =
      Enum.reduce(events, state, fn event, state ->
        {:noreply, state} = ManagerServer.handle_info({:pulsar_event, event}, state)
        state
      end)

    assert {:reply, {:ok, stats}, _} =
             ManagerServer.handle_call(:stats, {self(), make_ref()}, state)

    assert %{
             messages_published: 15,
             bytes_published: 1500,
             publish_failures: 1,
             gpu_batches: 1,
             gpu_messages: 7,
             gpu_failures: 2
           } = stats
  end

  test "a disconnected consumer is logged with its id", %{state: state} do
    event = %{event_type: "consumer_disconnected", consumer_id: "c7", topic: "t", reason: "gone"}

    log =
      capture_log(fn ->
        assert {:noreply, %{metrics: %{consumer_disconnects: 1}}} =
                 ManagerServer.handle_info({:pulsar_event, event}, state)
      end)

    assert log =~ "Consumer disconnected: c7"
  end

  test "a processed message of an unknown consumer is warned of", %{state: state} do
    log =
      capture_log(fn ->
        assert {:noreply, ^state} =
                 ManagerServer.handle_info({:gpu_processed_message, "nobody", :result}, state)
      end)

    assert log =~ ~s(unknown consumer: "nobody")
  end

  test "a processed message of a known consumer reaches the subscribers", %{
    state: state,
    id: id,
    tag: tag
  } do
    Events.register_manager(tag, state.key, :pubsub)
    :ok = Events.subscribe(state.key)
    creation = creation(id, :consumer)
    :ok = Creation.commit(creation, make_ref())

    assert {:noreply, %{metrics: %{processed_messages_routed: 1}}} =
             ManagerServer.handle_info({:gpu_processed_message, id, :result}, state)

    :sys.get_state(Events)
    assert_received {:gpu_processed_message, ^id, :result}
  end

  test "messages of a consumer it owns are published", %{state: state, id: id} do
    :ok = AMDGPUFramework.Messaging.PubSub.subscribe("pulsar_messages:#{id}")

    log =
      capture_log(fn ->
        assert {:noreply, ^state} =
                 ManagerServer.handle_info({:pulsar_messages, id, [:message]}, state)
      end)

    assert_received {:pulsar_messages, ^id, [:message]}
    # This consumer is not open, and what cannot be acknowledged is not passed over in silence.
    assert log =~ id
  end

  test "linked processes: an orderly end is nothing, a crash is a crash", %{state: state} do
    assert {:noreply, ^state} = ManagerServer.handle_info({:EXIT, self(), :normal}, state)
    assert {:stop, :killed, _} = ManagerServer.handle_info({:EXIT, self(), :killed}, state)
  end
end
