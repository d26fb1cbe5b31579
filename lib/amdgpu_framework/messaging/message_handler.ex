defmodule AMDGPUFramework.Messaging.MessageHandler do
  @moduledoc false
  # One process for each consumer under GPU processing: it holds the processor, and hands results to the owner, to PubSub and
  # to the manager. Its death ends the processing, and the consumer's messages go to the owner again.

  use GenServer, restart: :temporary

  alias AMDGPUFramework.Messaging.{BoundedSend, Handle, Native, PubSub}

  @registry AMDGPUFramework.Messaging.MessageHandlers
  @supervisor AMDGPUFramework.Messaging.MessageHandlerSupervisor

  # What the native side may still need, after the caller has stopped waiting, to answer a start.
  @margin_ms 1_000

  @type options :: %{
          consumer: Handle.t(),
          client: reference,
          config: map,
          owner: pid,
          pubsub: atom
        }

  defstruct [:options, :processor, :ref, waiting: [], owed: 0, phase: :starting]

  @doc false
  def children do
    [
      {Registry, keys: :unique, name: @registry},
      {DynamicSupervisor, name: @supervisor, strategy: :one_for_one}
    ]
  end

  @doc "Starts processing, and returns when the native side does it."
  @spec start(options, timeout :: pos_integer) :: :ok | {:error, term}
  def start(%{consumer: consumer} = options, timeout) do
    case DynamicSupervisor.start_child(@supervisor, {__MODULE__, options}) do
      {:ok, pid} -> call(pid, {:await_started, timeout}, timeout + @margin_ms)
      {:error, {:already_started, _pid}} -> {:error, {:already_exists, consumer.id}}
      {:error, reason} -> {:error, reason}
    end
  end

  @doc "Ends processing; what is in the pipeline is finished first."
  @spec stop(Handle.t(), timeout) :: :ok | {:error, term}
  def stop(%Handle{} = consumer, timeout) do
    with {:ok, pid} <- find(consumer), do: call(pid, :stop, timeout)
  end

  @doc "What the native side counts."
  @spec stats(Handle.t()) :: {:ok, map} | {:error, term}
  def stats(%Handle{} = consumer) do
    with {:ok, pid} <- find(consumer), do: call(pid, :stats, 5_000)
  end

  @doc "Ends the handler of a consumer that has closed."
  @spec consumer_closed(consumer_id :: String.t(), instance :: pos_integer | nil) :: :ok
  def consumer_closed(consumer_id, instance) do
    for {pid, handled} <- Registry.lookup(@registry, consumer_id), instance in [nil, handled] do
      GenServer.cast(pid, :consumer_closed)
    end

    :ok
  end

  @doc false
  def start_link(%{consumer: consumer} = options) do
    name = {:via, Registry, {@registry, consumer.id, consumer.instance}}
    GenServer.start_link(__MODULE__, options, name: name)
  end

  @impl true
  def init(options), do: {:ok, %__MODULE__{options: options}, {:continue, :start}}

  @impl true
  def handle_continue(:start, %{options: options} = state) do
    ref = make_ref()

    case Native.processor_start(
           options.consumer.native,
           options.client,
           ref,
           options.config,
           self()
         ) do
      :ok -> {:noreply, %{state | ref: ref}}
      {:error, _} = error -> {:noreply, %{state | phase: {:failed, error}}}
    end
  end

  @impl true
  def handle_call({:await_started, timeout}, from, %{phase: :starting} = state) do
    Process.send_after(self(), :start_timeout, timeout)
    {:noreply, %{state | waiting: [from]}}
  end

  def handle_call({:await_started, _timeout}, _from, %{phase: :running} = state),
    do: {:reply, :ok, state}

  def handle_call({:await_started, _timeout}, _from, %{phase: {:failed, error}} = state) do
    leave(state)
    {:stop, :normal, error, state}
  end

  def handle_call(:stop, from, %{phase: :running} = state) do
    ref = make_ref()
    Native.processor_stop(state.processor, ref)
    {:noreply, %{state | phase: :stopping, ref: ref, waiting: [from]}}
  end

  def handle_call(:stop, from, %{phase: :stopping} = state),
    do: {:noreply, %{state | waiting: [from | state.waiting]}}

  def handle_call(:stop, _from, state), do: {:reply, {:error, :gpu_processing_not_started}, state}

  def handle_call(:stats, _from, %{processor: nil} = state),
    do: {:reply, {:error, :gpu_processing_not_started}, state}

  def handle_call(:stats, _from, state),
    do: {:reply, {:ok, Native.processor_stats(state.processor)}, state}

  @impl true
  def handle_cast(:consumer_closed, state) do
    leave(state)
    reply(state, {:error, :closed})
    {:stop, :normal, state}
  end

  @impl true
  def handle_info({ref, result}, %{ref: ref} = state) when is_reference(ref),
    do: answered(result, state)

  def handle_info({:gpu_processed_messages, _id, processed}, state) do
    deliver(processed, state.options)
    {:noreply, give_credit(%{state | owed: state.owed + length(processed)})}
  end

  # Nobody waits any more; the native side may still answer, and is then told to stop.
  def handle_info(:start_timeout, %{phase: :starting} = state) do
    reply(state, {:error, :gpu_processing_start_timeout})
    {:noreply, %{state | phase: :abandoned, waiting: []}}
  end

  def handle_info(_message, state), do: {:noreply, state}

  defp answered({:ok, processor}, %{phase: :starting} = state) do
    reply(state, :ok)

    {:noreply,
     give_credit(%{state | phase: :running, processor: processor, ref: nil, waiting: []})}
  end

  defp answered({:ok, processor}, %{phase: :abandoned} = state) do
    ref = make_ref()
    Native.processor_stop(processor, ref)
    {:noreply, %{state | phase: :stopping, processor: processor, ref: ref}}
  end

  defp answered(result, state) do
    leave(state)
    reply(state, result)
    {:stop, :normal, %{state | waiting: []}}
  end

  # Before anybody hears of the end, so that the next start is not refused because of this one.
  defp leave(%{options: %{consumer: %{id: id}}}), do: Registry.unregister(@registry, id)

  defp reply(state, answer), do: Enum.each(state.waiting, &GenServer.reply(&1, answer))

  # Credits are for what left this process; results may come before the processor they are given to.
  defp give_credit(%{processor: nil} = state), do: state
  defp give_credit(%{owed: 0} = state), do: state

  defp give_credit(state) do
    Native.processor_delivered(state.processor, state.owed)
    %{state | owed: 0}
  end

  defp deliver(processed, %{consumer: %{id: id, manager: manager}} = options) do
    messages = Enum.map(processed, &{:gpu_processed_message, &1})
    PubSub.broadcast(options.pubsub, "gpu_processed_messages:#{id}", messages)

    parent = GenServer.whereis(manager)

    if is_pid(parent),
      do: BoundedSend.send_all(parent, Enum.map(processed, &{:gpu_processed_message, id, &1}))

    # The manager as owner has them already, one by one.
    if options.owner != parent,
      do: BoundedSend.send_all(options.owner, [{:gpu_processed_messages, id, processed}])
  end

  # A consumer that has closed may have a successor under its id.
  defp find(%Handle{id: id, instance: instance}) do
    case Registry.lookup(@registry, id) do
      [{pid, ^instance}] -> {:ok, pid}
      _ -> {:error, :gpu_processing_not_started}
    end
  end

  defp call(pid, request, timeout) do
    GenServer.call(pid, request, timeout)
  catch
    :exit, {:timeout, _} -> {:error, :timeout}
    :exit, _reason -> {:error, :closed}
  end
end
