defmodule AMDGPUFramework.JavaClient do
  @moduledoc """
  The official Java client, for tests of what clients must agree on.

  `test/interop/java/Interop.java` is compiled with the JDK at hand, against the jars of the standalone broker, and runs as
  a process that takes one JSON command a line and answers each with one JSON line. Binaries travel as base64.

      java = JavaClient.start!(broker.service_url)
      JavaClient.call!(java, "produce", %{topic: topic, compression: "LZ4", messages: [%{value: Base.encode64("x")}]})

  """

  use GenServer

  alias AMDGPUFramework.Messaging.JSON
  alias AMDGPUFramework.Standalone.ClassPath

  @source Path.expand("../interop/java/Interop.java", __DIR__)
  @timeout 60_000
  @flags ["-Xmx256m", "-XX:TieredStopAtLevel=1"]

  @doc "Compiles the program, once for all tests. Belongs into `setup_all`, which has no time limit."
  def compile! do
    {:ok, class_path} = ClassPath.resolve()
    classes = Path.join(System.tmp_dir!(), "amdgpu_framework-interop-#{digest()}")

    unless File.exists?(Path.join(classes, "Interop.class")) do
      javac =
        System.find_executable("javac") ||
          raise "javac was not found: install a JDK, version 17 or newer"

      part = "#{classes}.#{System.pid()}.part"
      File.mkdir_p!(part)
      arguments = ["-nowarn", "-cp", class_path, "-d", part, @source]

      case System.cmd(javac, arguments, stderr_to_stdout: true) do
        {_, 0} -> File.rename(part, classes)
        {output, _} -> raise "Interop.java does not compile:\n#{output}"
      end
    end

    classes <> ":" <> class_path
  end

  @doc "Starts the program for a broker; it ends with the test, or where `setup_all` starts it with the last one."
  def start!(service_url) do
    ExUnit.Callbacks.start_supervised!({__MODULE__, {service_url, compile!()}}, id: make_ref())
  end

  def start_link(arguments), do: GenServer.start_link(__MODULE__, arguments)

  @doc "Runs one command and returns its answer; raises with what Java says where it fails."
  def call!(java, command, arguments \\ %{}) do
    case GenServer.call(java, {:call, Map.put(arguments, :command, command)}, @timeout) do
      %{"error" => error} -> raise "Java: #{error}"
      answer -> answer
    end
  end

  @impl true
  def init({service_url, class_path}) do
    port =
      Port.open({:spawn_executable, System.find_executable("java")}, [
        :binary,
        :exit_status,
        {:line, 1_048_576},
        {:args, @flags ++ ["-cp", class_path, "Interop", service_url]}
      ])

    {:ok, %{port: port, callers: :queue.new(), line: ""}}
  end

  @impl true
  def handle_call({:call, command}, from, state) do
    {:ok, json} = JSON.encode(command)
    Port.command(state.port, [json, ?\n])
    {:noreply, %{state | callers: :queue.in(from, state.callers)}}
  end

  @impl true
  def handle_info({port, {:data, {:noeol, part}}}, %{port: port} = state),
    do: {:noreply, %{state | line: state.line <> part}}

  def handle_info({port, {:data, {:eol, part}}}, %{port: port} = state) do
    state = answer(state, state.line <> part)
    {:noreply, %{state | line: ""}}
  end

  def handle_info({port, {:exit_status, status}}, %{port: port} = state),
    do: {:stop, {:java_ended, status}, state}

  # What the client logs is no answer.
  defp answer(state, "{" <> _ = line) do
    {{:value, from}, callers} = :queue.out(state.callers)
    {:ok, answer} = JSON.decode(line)
    GenServer.reply(from, answer)
    %{state | callers: callers}
  end

  defp answer(state, _line), do: state

  defp digest, do: @source |> File.read!() |> :erlang.md5() |> Base.encode16(case: :lower)
end
