defmodule AMDGPUFramework.Standalone do
  @moduledoc """
  A real Apache Pulsar 4.2.4 broker for development, tests and demonstrations.

  It needs Java 17 or newer and Maven, which fetches the broker's jars into its own cache the first time.
  The broker is one Java process on this machine, ready in about five seconds, and it dies with the process
  that started it, however that one ends.

      {:ok, broker} = AMDGPUFramework.Standalone.start_link(port: 0, http_port: 0, bookie_port: 0, data_dir: "/tmp/pulsar")
      %{service_url: "pulsar://127.0.0.1:" <> _} = AMDGPUFramework.Standalone.info(broker)
      :ok = AMDGPUFramework.Standalone.kill(broker)       # as a crash does: nothing is flushed
      :ok = AMDGPUFramework.Standalone.restart(broker)    # the same data, the same ports
      :ok = AMDGPUFramework.Standalone.stop(broker)

  From a shell it is `mix pulsar.standalone`.

  ## Options

    * `:port` (6650), `:http_port` (8080), `:bookie_port` (3181) - 0 chooses a free one; the last one belongs to
      the storage node, which keeps the port of the data directory's first start
    * `:data_dir` (".pulsar") - where messages, the log and the configuration stay; a second start finds them again
    * `:set` - broker configuration, as `[{"brokerDeduplicationEnabled", "true"}]`, laid over
      `priv/standalone/standalone.conf`
    * `:admin_token` - sent with the requests that ask whether the broker is ready; needed when `:set` turns
      authentication on
    * `:ready_timeout` (120000 ms) - how long a start may take
    * `:name` - registers the process

  A broker that ends by itself ends this process too, with the reason
  `{:shutdown, %AMDGPUFramework.Standalone.Error{}}`.
  """

  use GenServer

  alias AMDGPUFramework.Standalone.{
    ClassPath,
    Configuration,
    Error,
    JavaProcess,
    Options,
    Readiness
  }

  @typedoc "A running broker."
  @type broker :: GenServer.server()

  @typedoc "Where a broker is found; `os_pid` is nil while it is killed."
  @type info :: %{
          service_url: String.t(),
          admin_url: String.t(),
          port: :inet.port_number(),
          http_port: :inet.port_number(),
          data_dir: Path.t(),
          log: Path.t(),
          os_pid: pos_integer | nil
        }

  # An orderly stop closes ledgers; past this time the broker is killed, which loses nothing that it confirmed.
  @stop_timeout 10_000
  @poll_interval 100

  defstruct [:options, :java, :class_path, :process]

  @doc false
  def child_spec(options) do
    %{
      id: Keyword.get(options, :name, __MODULE__),
      start: {__MODULE__, :start_link, [options]},
      shutdown: @stop_timeout + 5_000
    }
  end

  @doc """
  Starts a broker and returns when it takes messages.

      {:ok, broker} = AMDGPUFramework.Standalone.start_link(data_dir: ".pulsar")

  Errors are `{:error, %AMDGPUFramework.Standalone.Error{}}`, whose message says what to install, which option is
  wrong, or how the broker's log ends.
  """
  @spec start_link(keyword) :: GenServer.on_start()
  def start_link(options \\ []) do
    GenServer.start_link(__MODULE__, options, Keyword.take(options, [:name]))
  end

  @doc """
  Starts a broker that is not linked to the caller; it ends with the VM or by `stop/1`.

      {:ok, broker} = AMDGPUFramework.Standalone.start(port: 0)

  Options and errors are those of `start_link/1`.
  """
  @spec start(keyword) :: GenServer.on_start()
  def start(options \\ []) do
    GenServer.start(__MODULE__, options, Keyword.take(options, [:name]))
  end

  @doc """
  Says where the broker is found.

      %{port: 6650, admin_url: "http://127.0.0.1:8080"} = AMDGPUFramework.Standalone.info(broker)
  """
  @spec info(broker) :: info
  def info(broker), do: GenServer.call(broker, :info, :infinity)

  @doc """
  Kills the broker as `kill -9` does and returns when it is gone. `restart/1` brings it back.

      :ok = AMDGPUFramework.Standalone.kill(broker)
  """
  @spec kill(broker) :: :ok
  def kill(broker), do: GenServer.call(broker, :kill, :infinity)

  @doc """
  Starts the broker again on its data and ports and returns when it takes messages; a running one is stopped first.

      :ok = AMDGPUFramework.Standalone.restart(broker)

  Errors are those of `start_link/1`.
  """
  @spec restart(broker) :: :ok | {:error, Exception.t()}
  def restart(broker), do: GenServer.call(broker, :restart, :infinity)

  @doc """
  Stops the broker in an orderly way. Its data stay.

      :ok = AMDGPUFramework.Standalone.stop(broker)
  """
  @spec stop(broker) :: :ok
  def stop(broker), do: GenServer.stop(broker, :normal, :infinity)

  @impl true
  def init(options) do
    Process.flag(:trap_exit, true)

    with {:ok, options} <- Options.validate(options),
         {:ok, java} <- JavaProcess.find_java(),
         {:ok, class_path} <- ClassPath.resolve(),
         :ok <- Options.require_free_ports(options),
         :ok <- Configuration.write(options),
         state = %__MODULE__{options: options, java: java, class_path: class_path},
         {:ok, state} <- boot(state) do
      {:ok, state}
    else
      {:error, error} -> {:stop, error}
    end
  end

  @impl true
  def handle_call(:info, _from, state), do: {:reply, describe(state), state}

  def handle_call(:kill, _from, state) do
    {:reply, :ok, halt(state, :kill)}
  end

  def handle_call(:restart, _from, state) do
    stopped = halt(state, :term)

    with :ok <- Options.require_free_ports(state.options),
         {:ok, running} <- boot(stopped) do
      {:reply, :ok, running}
    else
      {:error, error} -> {:reply, {:error, error}, stopped}
    end
  end

  @impl true
  def handle_info({port, {:exit_status, status}}, %{process: %{port: port}} = state) do
    ended(state, status)
  end

  def handle_info({:EXIT, port, _reason}, %{process: %{port: port}} = state) do
    ended(state, :unknown)
  end

  def handle_info({:EXIT, port, _reason}, state) when is_port(port), do: {:noreply, state}
  def handle_info({:EXIT, _pid, reason}, state), do: {:stop, reason, state}
  def handle_info(_late, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state), do: halt(state, :term)

  defp boot(state) do
    with {:ok, process} <- JavaProcess.start(state.java, state.class_path, state.options) do
      deadline = System.monotonic_time(:millisecond) + state.options.ready_timeout
      await_ready(%{state | process: process}, deadline)
    end
  end

  defp await_ready(%{process: process, options: options} = state, deadline) do
    case Readiness.check(options) do
      :ok ->
        {:ok, state}

      {:error, why} ->
        cond do
          status = JavaProcess.await_exit(process, @poll_interval) ->
            {:error, failure(state, "the broker ended with status #{status} while it started")}

          System.monotonic_time(:millisecond) > deadline ->
            halt(state, :kill)
            text = "the broker is not ready after #{options.ready_timeout} ms (#{why})"
            {:error, failure(state, text)}

          true ->
            await_ready(state, deadline)
        end
    end
  end

  defp ended(state, status) do
    error = failure(state, "the broker ended with status #{status}")
    {:stop, {:shutdown, error}, %{state | process: nil}}
  end

  defp halt(%{process: nil} = state, _signal), do: state

  defp halt(%{process: process} = state, signal) do
    JavaProcess.stop(process, signal, @stop_timeout)
    %{state | process: nil}
  end

  defp failure(state, what) do
    log = Options.log(state.options)
    Error.exception("#{what}; the end of #{log}:\n\n#{JavaProcess.log_tail(log)}")
  end

  defp describe(%{options: options, process: process}) do
    %{
      service_url: "pulsar://127.0.0.1:#{options.port}",
      admin_url: "http://127.0.0.1:#{options.http_port}",
      port: options.port,
      http_port: options.http_port,
      data_dir: options.data_dir,
      log: Options.log(options),
      os_pid: process && process.os_pid
    }
  end
end
