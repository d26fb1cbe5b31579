defmodule AMDGPUFramework.Messaging.Events do
  @moduledoc false
  # Receives what the native side reports, for all managers, and hands it on: to the manager, to subscribers, to
  # PubSub, to telemetry. It outlives managers: what closes after its manager died is still released, and subscriptions
  # hold over a restart.

  use GenServer

  alias AMDGPUFramework.Messaging.{BoundedSend, Handles, MessageHandler, PubSub, Telemetry}

  @topic "pulsar_events"

  # Long after a manager died its last producer may report "closed".
  @linger_ms 60_000

  defstruct managers: %{}, monitors: %{}, subscribers: %{}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Makes the calling process the manager of a tag. A manager without a name is known by its pid."
  @spec register_manager(tag :: pos_integer, GenServer.server() | nil, pubsub :: atom) :: pid
  def register_manager(tag, name, pubsub),
    do: GenServer.call(__MODULE__, {:register_manager, tag, name || self(), pubsub, self()})

  @doc "Subscribes the calling process to the events of a manager."
  @spec subscribe(GenServer.server()) :: :ok | {:error, :manager_not_running}
  def subscribe(manager), do: GenServer.call(__MODULE__, {:subscribe, manager, self()})

  @doc "The managers that run."
  @spec managers() :: [pid]
  def managers, do: GenServer.call(__MODULE__, :managers)

  @doc "Ends the subscription of the calling process."
  @spec unsubscribe(GenServer.server()) :: :ok
  def unsubscribe(manager), do: GenServer.call(__MODULE__, {:unsubscribe, manager, self()})

  @doc "Sends messages to the subscribers of the manager that calls."
  @spec route(key :: GenServer.server(), [term]) :: :ok
  def route(key, messages) do
    case Process.whereis(__MODULE__) do
      nil -> :ok
      pid -> BoundedSend.send_all(pid, [{:route, key, messages}])
    end

    :ok
  end

  @impl true
  def init(nil), do: {:ok, %__MODULE__{}}

  @impl true
  def handle_call({:register_manager, tag, key, pubsub, pid}, _from, state) do
    monitor = Process.monitor(pid)
    manager = %{key: key, pid: pid, pubsub: pubsub}

    # What a manager of the same name left open belongs to its successor.
    managers =
      for {known_tag, known} <- state.managers, into: %{tag => manager} do
        {known_tag, if(known.key == key, do: manager, else: known)}
      end

    monitors = Map.put(state.monitors, monitor, {:manager, tag})
    {:reply, self(), %{state | managers: managers, monitors: monitors}}
  end

  def handle_call(:managers, _from, state) do
    pids = for {_tag, %{pid: pid}} <- state.managers, Process.alive?(pid), uniq: true, do: pid
    {:reply, pids, state}
  end

  def handle_call({:subscribe, manager, pid}, _from, state) do
    case key(state, manager) do
      {:ok, key} -> {:reply, :ok, add_subscriber(state, key, pid)}
      :error -> {:reply, {:error, :manager_not_running}, state}
    end
  end

  def handle_call({:unsubscribe, manager, pid}, _from, state) do
    case key(state, manager) do
      {:ok, key} -> {:reply, :ok, remove_subscriber(state, key, pid)}
      :error -> {:reply, :ok, state}
    end
  end

  @impl true
  def handle_info({:pulsar_event, tag, event}, state) do
    released(event)

    case state.managers do
      %{^tag => manager} -> publish(Map.put(event, :manager, manager.key), manager, state)
      _ -> Telemetry.emit(event)
    end

    {:noreply, state}
  end

  def handle_info({:route, key, messages}, state) do
    send_subscribers(state, key, messages)
    {:noreply, state}
  end

  def handle_info({:DOWN, monitor, :process, pid, _reason}, state) do
    {what, monitors} = Map.pop(state.monitors, monitor)
    state = %{state | monitors: monitors}

    case what do
      {:manager, tag} ->
        Process.send_after(self(), {:forget_manager, tag}, @linger_ms)
        {:noreply, state}

      {:subscriber, key} ->
        {:noreply, drop_subscriber(state, key, pid)}

      nil ->
        {:noreply, state}
    end
  end

  # What belongs to other processes outlives the manager, and still has events.
  def handle_info({:forget_manager, tag}, state) do
    manager = Map.fetch!(state.managers, tag)

    if Handles.any_of?(manager.key) do
      Process.send_after(self(), {:forget_manager, tag}, @linger_ms)
      {:noreply, state}
    else
      {:noreply, forget(tag, manager, state)}
    end
  end

  def handle_info(_message, state), do: {:noreply, state}

  # The name of a manager comes back with its restart; a pid does not.
  defp forget(tag, manager, state) do
    state = %{state | managers: Map.delete(state.managers, tag)}
    if is_pid(manager.key), do: remove_subscribers(state, manager.key), else: state
  end

  defp released(%{event_type: "producer_closed", producer_id: id} = event),
    do: Handles.closed(id, event[:instance])

  defp released(%{event_type: "consumer_closed", consumer_id: id} = event) do
    MessageHandler.consumer_closed(id, event[:instance])
    Handles.closed(id, event[:instance])
  end

  defp released(_event), do: :ok

  defp publish(event, manager, state) do
    message = {:pulsar_event, event}
    BoundedSend.send_all(manager.pid, [message])
    send_subscribers(state, manager.key, [message])
    PubSub.broadcast(manager.pubsub, @topic, [message])
    Telemetry.emit(event)
  end

  defp send_subscribers(state, key, messages) do
    for {pid, _monitor} <- Map.get(state.subscribers, key, %{}),
        do: BoundedSend.send_all(pid, messages)

    :ok
  end

  defp key(state, manager) do
    Enum.find_value(state.managers, :error, fn {_tag, known} ->
      if manager in [known.key, known.pid], do: {:ok, known.key}
    end)
  end

  defp add_subscriber(state, key, pid) do
    case state.subscribers do
      %{^key => %{^pid => _monitor}} ->
        state

      subscribers ->
        monitor = Process.monitor(pid)
        subscribers = Map.update(subscribers, key, %{pid => monitor}, &Map.put(&1, pid, monitor))

        %{
          state
          | subscribers: subscribers,
            monitors: Map.put(state.monitors, monitor, {:subscriber, key})
        }
    end
  end

  defp remove_subscribers(state, key) do
    state.subscribers
    |> Map.get(key, %{})
    |> Map.keys()
    |> Enum.reduce(state, &remove_subscriber(&2, key, &1))
  end

  defp remove_subscriber(state, key, pid) do
    case state.subscribers do
      %{^key => %{^pid => monitor}} ->
        Process.demonitor(monitor, [:flush])
        drop_subscriber(%{state | monitors: Map.delete(state.monitors, monitor)}, key, pid)

      _ ->
        state
    end
  end

  defp drop_subscriber(state, key, pid) do
    left = state.subscribers |> Map.get(key, %{}) |> Map.delete(pid)

    subscribers =
      if left == %{},
        do: Map.delete(state.subscribers, key),
        else: Map.put(state.subscribers, key, left)

    %{state | subscribers: subscribers}
  end
end
