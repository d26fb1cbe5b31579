defmodule AMDGPUFramework.Messaging.EventsTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.{Events, Handle, Handles, PubSub}

  setup do
    number = System.unique_integer([:positive])
    {:ok, tag: number, name: :"manager_#{number}", pubsub: :"pubsub_#{number}"}
  end

  defp emit(tag, event) do
    send(Events, {:pulsar_event, tag, event})
    :sys.get_state(Events)
  end

  defp in_another_process(fun) do
    test = self()

    pid =
      spawn_link(fn ->
        send(test, {:done, self(), fun.()})
        forward(test)
      end)

    assert_receive {:done, ^pid, result}
    {pid, result}
  end

  defp forward(to) do
    receive do
      :end ->
        :ok

      message ->
        send(to, {:forwarded, self(), message})
        forward(to)
    end
  end

  defp stop(pid) do
    monitor = Process.monitor(pid)
    send(pid, :end)
    assert_receive {:DOWN, ^monitor, :process, ^pid, _}
    :sys.get_state(Events)
  end

  test "an event reaches the manager, its subscribers and PubSub, and names the manager", %{
    tag: tag,
    name: name,
    pubsub: pubsub
  } do
    {manager, _events} = in_another_process(fn -> Events.register_manager(tag, name, pubsub) end)
    {subscriber, :ok} = in_another_process(fn -> Events.subscribe(name) end)
    :ok = PubSub.subscribe(pubsub, "pulsar_events")

    emit(tag, %{event_type: "producer_created", producer_id: "p", topic: "t"})

    expected = %{event_type: "producer_created", producer_id: "p", topic: "t", manager: name}
    assert_receive {:forwarded, ^manager, {:pulsar_event, ^expected}}
    assert_receive {:forwarded, ^subscriber, {:pulsar_event, ^expected}}
    assert_receive {:pulsar_event, ^expected}
  end

  test "subscribers of one manager hear nothing of another", %{
    tag: tag,
    name: name,
    pubsub: pubsub
  } do
    other = :"#{name}_other"
    in_another_process(fn -> Events.register_manager(tag, name, pubsub) end)
    in_another_process(fn -> Events.register_manager(-tag, other, pubsub) end)
    :ok = Events.subscribe(other)
    emit(tag, %{event_type: "producer_created", producer_id: "p"})
    refute_received {:pulsar_event, _}
  end

  test "subscribing twice gives each event once; unsubscribing ends it", %{
    tag: tag,
    name: name,
    pubsub: pubsub
  } do
    in_another_process(fn -> Events.register_manager(tag, name, pubsub) end)
    :ok = Events.subscribe(name)
    :ok = Events.subscribe(name)
    emit(tag, %{event_type: "x"})
    assert_received {:pulsar_event, %{event_type: "x"}}
    refute_received {:pulsar_event, _}
    :ok = Events.unsubscribe(name)
    emit(tag, %{event_type: "y"})
    refute_received {:pulsar_event, _}
  end

  test "a manager that was never there cannot be subscribed to" do
    assert {:error, :manager_not_running} = Events.subscribe(:no_such_manager)
  end

  test "a subscription holds over a restart of the manager", %{
    tag: tag,
    name: name,
    pubsub: pubsub
  } do
    {manager, _} = in_another_process(fn -> Events.register_manager(tag, name, pubsub) end)
    :ok = Events.subscribe(name)
    stop(manager)
    in_another_process(fn -> Events.register_manager(tag + 1_000_000_000, name, pubsub) end)
    emit(tag + 1_000_000_000, %{event_type: "after"})
    assert_received {:pulsar_event, %{event_type: "after", manager: ^name}}
    emit(tag, %{event_type: "of what closed late"})
    assert_received {:pulsar_event, %{event_type: "of what closed late"}}
  end

  test "a subscriber that dies is forgotten", %{tag: tag, name: name, pubsub: pubsub} do
    in_another_process(fn -> Events.register_manager(tag, name, pubsub) end)
    {subscriber, :ok} = in_another_process(fn -> Events.subscribe(name) end)
    state = stop(subscriber)
    refute Map.has_key?(state.subscribers, name)
    refute Enum.any?(state.monitors, fn {_, what} -> what == {:subscriber, name} end)
  end

  test "what the native side has closed is released, also when its manager is gone", %{tag: tag} do
    for {kind, key} <- [producer: :producer_id, consumer: :consumer_id] do
      id = "#{kind}_#{tag}"
      {:ok, instance} = Handles.reserve(id, kind)
      handle = %Handle{kind: kind, id: id, native: make_ref(), manager: :gone, instance: instance}
      :ok = Handles.commit(handle, %{})
      emit(tag, %{:event_type => "#{kind}_closed", key => id, :instance => instance - 1})
      :sys.get_state(Handles)
      assert {:ok, _} = Handles.fetch(id)
      emit(tag, %{:event_type => "#{kind}_closed", key => id, :instance => instance})
      :sys.get_state(Handles)
      assert {:error, :not_found} = Handles.fetch(id)
    end
  end

  test "messages are routed to subscribers", %{tag: tag, name: name, pubsub: pubsub} do
    in_another_process(fn -> Events.register_manager(tag, name, pubsub) end)
    :ok = Events.subscribe(name)
    Events.route(name, [{:gpu_processed_message, "c", :result}])
    :sys.get_state(Events)
    assert_received {:gpu_processed_message, "c", :result}
  end

  test "what a dead manager left open has its events from the one that has its name now", %{
    tag: tag,
    name: name,
    pubsub: pubsub
  } do
    {first, _} = in_another_process(fn -> Events.register_manager(tag, name, pubsub) end)
    {subscriber, :ok} = in_another_process(fn -> Events.subscribe(name) end)
    stop(first)
    next_tag = System.unique_integer([:positive])
    {second, _} = in_another_process(fn -> Events.register_manager(next_tag, name, pubsub) end)
    assert second in Events.managers()
    refute first in Events.managers()

    handle = %Handle{
      kind: :consumer,
      id: "left #{tag}",
      native: make_ref(),
      manager: name,
      instance: 0
    }

    {:ok, instance} = Handles.reserve(handle.id, :consumer)
    :ok = Handles.commit(%{handle | instance: instance}, %{})

    emit(tag, %{event_type: "consumer_disconnected", consumer_id: handle.id})
    assert_receive {:forwarded, ^second, {:pulsar_event, %{event_type: "consumer_disconnected"}}}

    assert_receive {:forwarded, ^subscriber,
                    {:pulsar_event, %{event_type: "consumer_disconnected"}}}

    # The time after which a dead manager is forgotten, unless something of it is open.
    send(Events, {:forget_manager, tag})
    emit(tag, %{event_type: "consumer_reconnected", consumer_id: handle.id})
    assert_receive {:forwarded, ^second, {:pulsar_event, %{event_type: "consumer_reconnected"}}}

    Handles.release(handle.id, instance)
    send(Events, {:forget_manager, tag})
    emit(tag, %{event_type: "consumer_closed", consumer_id: handle.id})
    refute_received {:forwarded, ^second, {:pulsar_event, %{event_type: "consumer_closed"}}}
  end
end
