defmodule AMDGPUFramework.Messaging.Handles do
  @moduledoc false
  # Owns the table of open producers and consumers: id -> handle. Everyone reads it; ids are taken, filled and
  # released here, one at a time, so that an id is unique while it is in use.
  #
  # An entry lives as long as what it names: it outlives the manager, and goes when the native side reports "closed".
  # A reservation lives as long as the process that made it.

  use GenServer

  alias AMDGPUFramework.Messaging.Handle

  @table __MODULE__
  @not_found %{producer: :producer_not_found, consumer: :consumer_not_found}

  @type id :: String.t()
  @type kind :: :producer | :consumer

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Takes an id for the calling process. The instance tells this use of the id from later ones."
  @spec reserve(id, kind) :: {:ok, instance :: pos_integer} | {:error, {:already_exists, id}}
  def reserve(id, kind), do: GenServer.call(__MODULE__, {:reserve, id, kind, self()})

  @doc "Fills a reservation. `:gone` where it was released meanwhile."
  @spec commit(Handle.t(), info :: map) :: :ok | {:error, :gone}
  def commit(%Handle{} = handle, info), do: GenServer.call(__MODULE__, {:commit, handle, info})

  @doc "Frees an id, if it is still in this use."
  @spec release(id, instance :: pos_integer) :: :ok
  def release(id, instance), do: GenServer.call(__MODULE__, {:release, id, instance})

  @doc "Frees the id of what the native side has closed. Without an instance: whatever is open under the id."
  @spec closed(id, instance :: pos_integer | nil) :: :ok
  def closed(id, instance), do: GenServer.cast(__MODULE__, {:closed, id, instance})

  @doc "The handle of an open producer or consumer."
  @spec fetch(id | Handle.t(), kind) ::
          {:ok, Handle.t()} | {:error, :producer_not_found | :consumer_not_found}
  def fetch(%Handle{kind: kind} = handle, kind), do: {:ok, handle}

  def fetch(id, kind) do
    case entry(id) do
      [{_id, ^kind, _instance, %Handle{} = handle, _info}] -> {:ok, handle}
      _ -> {:error, Map.fetch!(@not_found, kind)}
    end
  end

  @doc "The handle of whatever is open under an id."
  @spec fetch(id | Handle.t()) :: {:ok, Handle.t()} | {:error, :not_found}
  def fetch(%Handle{} = handle), do: {:ok, handle}

  def fetch(id) do
    case entry(id) do
      [{_id, _kind, _instance, %Handle{} = handle, _info}] -> {:ok, handle}
      _ -> {:error, :not_found}
    end
  end

  @doc "What was noted when it was opened."
  @spec info(Handle.t()) :: {:ok, map} | {:error, :closed}
  def info(%Handle{id: id, instance: instance}) do
    case entry(id) do
      [{_id, _kind, ^instance, %Handle{}, info}] -> {:ok, info}
      _ -> {:error, :closed}
    end
  end

  @doc "Whether a consumer or producer is open under the id."
  @spec open?(id, kind) :: boolean
  def open?(id, kind), do: match?({:ok, _}, fetch(id, kind))

  @doc "Whether anything is open that a manager of this name has created."
  @spec any_of?(GenServer.server()) :: boolean
  def any_of?(manager) do
    of_it = fn
      {_id, _kind, _instance, %Handle{manager: ^manager}, _info}, _found -> true
      _entry, found -> found
    end

    :ets.foldl(of_it, false, @table)
  end

  @impl true
  def init(nil) do
    :ets.new(@table, [:named_table, :protected, read_concurrency: true])
    {:ok, %{}}
  end

  # The state has a monitor for each reservation, found both ways: monitor => {id, instance}, and back.
  @impl true
  def handle_call({:reserve, id, kind, holder}, _from, reservations) do
    instance = System.unique_integer([:positive, :monotonic])

    if :ets.insert_new(@table, {id, kind, instance, nil, nil}) do
      monitor = Process.monitor(holder)

      reservations =
        Map.merge(reservations, %{monitor => {id, instance}, {id, instance} => monitor})

      {:reply, {:ok, instance}, reservations}
    else
      {:reply, {:error, {:already_exists, id}}, reservations}
    end
  end

  def handle_call(
        {:commit, %Handle{id: id, instance: instance} = handle, info},
        _from,
        reservations
      ) do
    case :ets.lookup(@table, id) do
      [{^id, kind, ^instance, nil, nil}] ->
        :ets.insert(@table, {id, kind, instance, handle, info})
        {:reply, :ok, forget(reservations, id, instance)}

      _ ->
        {:reply, {:error, :gone}, reservations}
    end
  end

  def handle_call({:release, id, instance}, _from, reservations) do
    delete(id, instance)
    {:reply, :ok, forget(reservations, id, instance)}
  end

  # A reservation is not open yet: a "closed" without an instance belongs to what had the id before.
  @impl true
  def handle_cast({:closed, id, nil}, reservations) do
    :ets.select_delete(@table, [{{id, :_, :_, :"$1", :_}, [{:"/=", :"$1", nil}], [true]}])
    {:noreply, reservations}
  end

  def handle_cast({:closed, id, instance}, reservations) do
    delete(id, instance)
    {:noreply, forget(reservations, id, instance)}
  end

  @impl true
  def handle_info({:DOWN, monitor, :process, _pid, _reason}, reservations) do
    case Map.pop(reservations, monitor) do
      {{id, instance} = use, reservations} ->
        delete(id, instance)
        {:noreply, Map.delete(reservations, use)}

      {nil, reservations} ->
        {:noreply, reservations}
    end
  end

  def handle_info(_message, reservations), do: {:noreply, reservations}

  # Where the application has stopped there is no table, and nothing is open.
  defp entry(id) do
    :ets.lookup(@table, id)
  rescue
    ArgumentError -> []
  end

  defp delete(id, instance), do: :ets.match_delete(@table, {id, :_, instance, :_, :_})

  defp forget(reservations, id, instance) do
    case Map.pop(reservations, {id, instance}) do
      {nil, reservations} ->
        reservations

      {monitor, reservations} ->
        Process.demonitor(monitor, [:flush])
        Map.delete(reservations, monitor)
    end
  end
end
