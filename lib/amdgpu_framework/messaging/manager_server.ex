defmodule AMDGPUFramework.Messaging.ManagerServer do
  @moduledoc false
  # The process behind `PulsarManager`: it holds the client of one cluster and the creations under way, and never waits
  # for the broker. No message that is sent or received passes through it, unless it is the owner of a consumer.

  use GenServer

  require Logger

  alias AMDGPUFramework.Messaging.{Call, ClusterConfig, Consumer, Creation, Events, Handles}
  alias AMDGPUFramework.Messaging.{Native, PubSub, PulsarManager}

  # What the native side needs, after the time for draining, to say that it is over.
  @shutdown_margin_ms 500

  # And what the supervisor gives the process on top of that.
  @supervisor_margin_ms 1_000

  @metrics %{
    messages_published: 0,
    bytes_published: 0,
    publish_failures: 0,
    consumer_disconnects: 0,
    gpu_batches: 0,
    gpu_messages: 0,
    gpu_failures: 0,
    processed_messages_routed: 0
  }

  defstruct [:key, :config, :client, :events, started_at: nil, creations: %{}, metrics: @metrics]

  @spec child_spec(keyword | map) :: Supervisor.child_spec()
  def child_spec(config) do
    # A configuration that is wrong is reported where the child starts.
    {name, timeout} =
      case ClusterConfig.new(config) do
        {:ok, %{name: name, shutdown_timeout: timeout}} -> {name || PulsarManager, timeout}
        {:error, _} -> {PulsarManager, 0}
      end

    %{
      id: name,
      start: {PulsarManager, :start_link, [config]},
      shutdown: timeout + @supervisor_margin_ms
    }
  end

  @spec start_link(ClusterConfig.t()) :: GenServer.on_start()
  def start_link(%ClusterConfig{name: nil} = config), do: GenServer.start_link(__MODULE__, config)

  def start_link(%ClusterConfig{name: name} = config),
    do: GenServer.start_link(__MODULE__, config, name: name)

  @doc "Creates a producer or consumer, in the time its options give."
  @spec create(Creation.t()) :: {:ok, String.t()} | {:error, term}
  def create(%Creation{options: %{manager: manager}} = creation),
    do: call(manager, {:create, creation}, :infinity)

  @doc "The client and the configuration."
  @spec context(GenServer.server()) ::
          {:ok, client :: reference, ClusterConfig.t()} | {:error, :manager_not_running}
  def context(manager), do: call(manager, :context)

  @doc "What the manager counts."
  @spec stats(GenServer.server()) :: {:ok, map} | {:error, :manager_not_running}
  def stats(manager), do: call(manager, :stats)

  @doc "What a cheap request to the broker finds."
  @spec health(GenServer.server()) :: {:ok, map} | {:error, term}
  def health(manager) do
    with {:ok, client, config} <- context(manager) do
      timeout = config.connection_timeout + config.operation_timeout
      Call.run(&Native.client_health(client, &1), timeout)
    end
  end

  defp call(manager, request, timeout \\ 5_000) do
    GenServer.call(manager, request, timeout)
  catch
    :exit, {:timeout, _} -> {:error, :timeout}
    :exit, _reason -> {:error, :manager_not_running}
  end

  @impl true
  def init(config) do
    # So that an orderly stop reaches terminate/2.
    Process.flag(:trap_exit, true)

    tag = System.unique_integer([:positive])
    events = Events.register_manager(tag, config.name, config.pubsub)

    case Native.client_open(ClusterConfig.client_options(config), tag, events) do
      {:ok, client} ->
        {:ok,
         %__MODULE__{
           key: config.name || self(),
           config: config,
           client: client,
           # The client reports to this process alone: with another one, a new client is needed.
           events: Process.monitor(events),
           started_at: DateTime.utc_now()
         }}

      {:error, reason} ->
        {:stop, reason}
    end
  end

  @impl true
  def handle_call({:create, creation}, {caller, _tag} = from, state) do
    ref = make_ref()

    case Creation.open(%{creation | manager: state.key}, ref, state.client, state.config) do
      {:ok, creation} ->
        timer = Process.send_after(self(), {:creation_timeout, ref}, creation.options.timeout)
        creation = %{creation | from: from, monitor: Process.monitor(caller), timer: timer}
        {:noreply, %{state | creations: Map.put(state.creations, ref, creation)}}

      {:error, _} = error ->
        {:reply, error, state}
    end
  end

  def handle_call(:context, _from, state),
    do: {:reply, {:ok, state.client, state.config}, state}

  def handle_call(:stats, _from, state) do
    stats =
      Map.merge(state.metrics, %{
        name: state.key,
        broker_service_url: state.config.broker_service_url,
        started_at: state.started_at,
        creations_pending: map_size(state.creations)
      })

    {:reply, {:ok, stats}, state}
  end

  @impl true
  def handle_info({ref, result}, state) when is_reference(ref) do
    case Map.pop(state.creations, ref) do
      # The answer to the closing of something abandoned.
      {nil, _creations} ->
        {:noreply, state}

      {creation, creations} ->
        {:noreply, created(creation, result, %{state | creations: creations})}
    end
  end

  def handle_info({:creation_timeout, ref}, state) do
    case state.creations do
      %{^ref => %{from: {_, _} = from} = creation} ->
        GenServer.reply(from, {:error, Creation.timeout_reason(creation)})
        {:noreply, abandon(ref, creation, state)}

      _ ->
        {:noreply, state}
    end
  end

  def handle_info({:DOWN, monitor, :process, _pid, _reason}, %{events: monitor} = state),
    do: {:stop, :events_down, state}

  # A caller that died while it waited.
  def handle_info({:DOWN, monitor, :process, _pid, _reason}, state) do
    case Enum.find(state.creations, fn {_ref, creation} -> creation.monitor == monitor end) do
      {ref, creation} -> {:noreply, abandon(ref, creation, state)}
      nil -> {:noreply, state}
    end
  end

  def handle_info({:pulsar_event, event}, state) do
    log(event)
    {:noreply, %{state | metrics: count(event, state.metrics)}}
  end

  # As the owner of a consumer: publish, then acknowledge.
  def handle_info({:pulsar_messages, consumer_id, messages}, state) do
    topic = "pulsar_messages:#{consumer_id}"
    PubSub.broadcast(state.config.pubsub, topic, [{:pulsar_messages, consumer_id, messages}])

    case Consumer.ack(consumer_id, messages) do
      :ok -> :ok
      {:error, reason} -> Logger.warning("#{consumer_id}: not acknowledged: #{inspect(reason)}")
    end

    {:noreply, state}
  end

  def handle_info({:gpu_processed_message, consumer_id, _message} = processed, state) do
    if Handles.open?(consumer_id, :consumer) do
      Events.route(state.key, [processed])
      {:noreply, %{state | metrics: add(state.metrics, :processed_messages_routed, 1)}}
    else
      Logger.warning("Received processed message for unknown consumer: #{inspect(consumer_id)}")
      {:noreply, state}
    end
  end

  def handle_info({:EXIT, _pid, :normal}, state), do: {:noreply, state}
  def handle_info({:EXIT, _pid, reason}, state), do: {:stop, reason, state}

  def handle_info(message, state) do
    Logger.debug("PulsarManager got a message it does not know: #{inspect(message)}")
    {:noreply, state}
  end

  @impl true
  def terminate(reason, state) do
    # After a crash the supervisor waits for a new manager, and what this one owned closes without it.
    if orderly?(reason), do: drain(state)
  end

  defp orderly?(reason), do: reason in [:normal, :shutdown] or match?({:shutdown, _}, reason)

  defp drain(%{client: client, config: %{shutdown_timeout: timeout}}) do
    ref = make_ref()
    Native.client_close(client, ref, timeout)

    receive do
      {^ref, :ok} -> :ok
      {^ref, {:error, reason}} -> Logger.warning("Pulsar client closed with #{inspect(reason)}")
    after
      timeout + @shutdown_margin_ms -> Logger.warning("Pulsar client did not close in time")
    end
  end

  defp created(%{from: nil} = creation, {:ok, native}, state) do
    Creation.close(creation, native)
    state
  end

  defp created(%{from: nil}, {:error, _reason}, state), do: state

  defp created(creation, {:ok, native}, state) do
    stop_waiting(creation)

    case Creation.commit(creation, native) do
      :ok -> GenServer.reply(creation.from, {:ok, creation.id})
      {:error, _} = error -> GenServer.reply(creation.from, error)
    end

    state
  end

  defp created(creation, {:error, _} = error, state) do
    stop_waiting(creation)
    Creation.release(creation)
    GenServer.reply(creation.from, error)
    state
  end

  # The id is free again at once; what opens later is closed when it does.
  defp abandon(ref, creation, state) do
    stop_waiting(creation)
    Creation.release(creation)
    creation = %{creation | from: nil, monitor: nil, timer: nil}
    %{state | creations: Map.put(state.creations, ref, creation)}
  end

  defp stop_waiting(creation) do
    Process.demonitor(creation.monitor, [:flush])
    Process.cancel_timer(creation.timer)
  end

  defp log(%{event_type: "producer_created"} = event),
    do: Logger.info("Producer created: #{event[:producer_id]}")

  defp log(%{event_type: "consumer_created"} = event),
    do: Logger.info("Consumer created: #{event[:consumer_id]}")

  # The native side reconnects by itself.
  defp log(%{event_type: "consumer_disconnected"} = event),
    do:
      Logger.warning("Consumer disconnected: #{event[:consumer_id]} (#{inspect(event[:reason])})")

  defp log(%{event_type: "producer_disconnected"} = event),
    do:
      Logger.warning("Producer disconnected: #{event[:producer_id]} (#{inspect(event[:reason])})")

  defp log(%{event_type: "message_undecodable"} = event) do
    Logger.error(
      "Consumer #{event[:consumer_id]}: message #{inspect(event[:message_id])} of #{event[:topic]} cannot be decoded: " <>
        inspect(event[:reason])
    )
  end

  defp log(%{event_type: "consumer_stalled"} = event) do
    Logger.warning(
      "Consumer #{event[:consumer_id]} has #{event[:unacked]} messages that its owner does not acknowledge"
    )
  end

  # Too frequent for a log: subscribers and counters have them.
  defp log(%{event_type: type}) when type in ["message_published", "gpu_processing_completed"],
    do: :ok

  defp log(event), do: Logger.debug(fn -> "Pulsar event: #{inspect(event)}" end)

  defp count(%{event_type: "message_published"} = event, metrics) do
    metrics
    |> add(:messages_published, event[:count])
    |> add(:bytes_published, event[:bytes])
    |> add(:publish_failures, event[:failed])
  end

  defp count(%{event_type: "consumer_disconnected"}, metrics),
    do: add(metrics, :consumer_disconnects, 1)

  defp count(%{event_type: "gpu_processing_completed"} = event, metrics) do
    metrics
    |> add(:gpu_batches, 1)
    |> add(:gpu_messages, event[:count])
    |> add(:gpu_failures, event[:failed])
  end

  defp count(_event, metrics), do: metrics

  defp add(metrics, key, count), do: Map.update!(metrics, key, &(&1 + (count || 0)))
end
