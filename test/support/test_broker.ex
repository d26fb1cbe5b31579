defmodule AMDGPUFramework.TestBroker do
  @moduledoc """
  Real brokers for the end-to-end tests: one that all of them share, and private ones for those that break it.

  Modules that use one are tagged `@moduletag :e2e`. `shared/0` belongs into `setup_all`, which has no time limit:
  the first start may have to download the broker. Tests on the shared broker use topics of their own, see `topic/1`.
  """

  use GenServer

  alias AMDGPUFramework.Standalone

  @doc "Starts the keeper of the shared broker, not the broker."
  def start_link, do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Stops the shared broker, if a test has started it."
  def stop, do: GenServer.stop(__MODULE__, :normal, :infinity)

  @doc "Where the shared broker is found, as `AMDGPUFramework.Standalone.info/1` says; starts it on the first call."
  def shared do
    case GenServer.call(__MODULE__, :shared, :infinity) do
      {:ok, info} -> info
      {:error, error} -> raise error
    end
  end

  @doc """
  Starts a broker of the calling test's own on free ports. It and its data go when the test ends; two brokers of
  one test may share a `:data_dir`, one after the other.
  """
  def start!(options \\ []) do
    data_dir = Keyword.get_lazy(options, :data_dir, &data_dir/0)
    ExUnit.Callbacks.on_exit(fn -> File.rm_rf!(data_dir) end)
    child = {Standalone, Keyword.merge(free_ports(data_dir), options)}
    spec = Supervisor.child_spec(child, id: make_ref(), restart: :temporary)
    ExUnit.Callbacks.start_supervised!(spec)
  end

  @doc "A topic name that no other test uses."
  def topic(prefix \\ "topic"), do: "persistent://public/default/#{prefix}-#{unique()}"

  @doc "A data directory that does not exist yet."
  def data_dir, do: Path.join(System.tmp_dir!(), "amdgpu_framework-broker-#{unique()}")

  @doc "The body and status of a request to a broker's admin API: `request(info, :get, \"/admin/v2/clusters\")`."
  def request(info, method, path, body \\ nil) do
    {:ok, _} = Application.ensure_all_started(:inets)
    url = to_charlist(info.admin_url <> path)
    headers = [{'connection', 'close'}]

    request = if body, do: {url, headers, 'application/json', body}, else: {url, headers}

    options = [timeout: 30_000]

    {:ok, {{_, status, _}, _, body}} =
      :httpc.request(method, request, options, body_format: :binary)

    {status, body}
  end

  @impl true
  def init(nil) do
    Process.flag(:trap_exit, true)
    {:ok, nil}
  end

  @impl true
  def handle_call(:shared, _from, nil) do
    data_dir = data_dir()

    case Standalone.start_link(free_ports(data_dir)) do
      {:ok, broker} -> {:reply, {:ok, Standalone.info(broker)}, {broker, data_dir}}
      {:error, error} -> {:reply, {:error, error}, {:failed, error}}
    end
  end

  def handle_call(:shared, _from, {:failed, error} = state), do: {:reply, {:error, error}, state}

  def handle_call(:shared, _from, {broker, _} = state) do
    {:reply, {:ok, Standalone.info(broker)}, state}
  end

  @impl true
  def handle_info({:EXIT, broker, reason}, {broker, data_dir}) do
    File.rm_rf!(data_dir)
    {:noreply, {:failed, RuntimeError.exception("the shared broker ended: #{inspect(reason)}")}}
  end

  def handle_info({:EXIT, _other, _reason}, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, {broker, data_dir}) when is_pid(broker) do
    Standalone.stop(broker)
    File.rm_rf!(data_dir)
  end

  def terminate(_reason, _state), do: :ok

  defp free_ports(data_dir), do: [port: 0, http_port: 0, bookie_port: 0, data_dir: data_dir]

  defp unique, do: Base.encode16(:crypto.strong_rand_bytes(6), case: :lower)
end
