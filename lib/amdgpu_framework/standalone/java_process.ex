defmodule AMDGPUFramework.Standalone.JavaProcess do
  @moduledoc false
  # The broker's Java process, behind priv/standalone/run.sh, which kills it when our end of the pipe closes.

  alias AMDGPUFramework.Standalone.{Error, Options}

  defstruct [:port, :os_pid]

  @minimum_version 17
  @memory ~w(-Xms256m -Xmx1g -XX:MaxDirectMemorySize=1g)
  @opens ~w(java.base/java.nio java.base/jdk.internal.misc java.base/sun.net java.management/sun.management)
  @exports ~w(java.base/jdk.internal.platform)
  @tail_lines 30
  @tail_bytes 65_536

  @spec find_java() :: {:ok, Path.t()} | {:error, Exception.t()}
  def find_java do
    install =
      "Install it with `apt-get install openjdk-17-jre-headless` or `brew install openjdk@17`"

    with {:ok, java} <-
           executable("java", "java was not found; the Pulsar broker runs on Java 17. #{install}") do
      case java_version(java) do
        version when version >= @minimum_version ->
          {:ok, java}

        version ->
          {:error,
           Error.exception("#{java} is Java #{version}; the Pulsar broker needs 17. #{install}")}
      end
    end
  end

  @spec start(Path.t(), String.t(), struct) :: {:ok, struct} | {:error, Exception.t()}
  def start(java, class_path, options) do
    arguments = [script(), Options.log(options), java] ++ java_arguments(options)

    port =
      Port.open({:spawn_executable, "/bin/sh"}, [
        :binary,
        :exit_status,
        :hide,
        line: 256,
        args: arguments,
        cd: options.data_dir,
        env: [{'CLASSPATH', String.to_charlist(class_path)}]
      ])

    receive do
      {^port, {:data, {:eol, "started " <> os_pid}}} ->
        {:ok, %__MODULE__{port: port, os_pid: String.to_integer(os_pid)}}

      {^port, {:exit_status, status}} ->
        {:error, Error.exception("#{script()} ended with status #{status}")}
    end
  end

  @doc false
  # The exit status, or nil when the process still runs after the time given. A port that breaks while it is
  # written to gives no status; the caller traps exits.
  def await_exit(%{port: port}, timeout) do
    receive do
      {^port, {:exit_status, status}} -> status
      {:EXIT, ^port, _reason} -> :unknown
    after
      timeout -> nil
    end
  end

  @spec stop(struct, :term | :kill, timeout) :: :ok
  def stop(process, signal, timeout) do
    signal(process, signal)

    unless await_exit(process, timeout) do
      signal(process, :kill)
      await_exit(process, :infinity)
    end

    :ok
  end

  @spec log_tail(Path.t()) :: String.t()
  def log_tail(log) do
    with {:ok, file} <- :file.open(log, [:read, :raw, :binary]),
         {:ok, size} <- :file.position(file, :eof),
         {:ok, bytes} <- :file.pread(file, max(size - @tail_bytes, 0), @tail_bytes) do
      :file.close(file)
      bytes |> String.split("\n") |> Enum.take(-@tail_lines) |> Enum.join("\n")
    else
      _ -> "(empty)"
    end
  end

  # The script ends with the process: its pipe may be closed already.
  defp signal(%{port: port}, signal) do
    Port.command(port, "#{signal}\n")
  rescue
    ArgumentError -> false
  end

  defp java_arguments(options) do
    log4j = Application.app_dir(:amdgpu_framework, "priv/standalone/log4j2.xml")

    @memory ++
      Enum.flat_map(@opens, &["--add-opens", &1 <> "=ALL-UNNAMED"]) ++
      Enum.flat_map(@exports, &["--add-exports", &1 <> "=ALL-UNNAMED"]) ++
      ["-Dio.netty.tryReflectionSetAccessible=true", "-Dlog4j.configurationFile=#{log4j}"] ++
      [
        "org.apache.pulsar.PulsarStandaloneStarter",
        "--config",
        Options.configuration_file(options)
      ] ++
      ["--metadata-dir", "metadata", "--bookkeeper-dir", "bookkeeper"] ++
      ["--bookkeeper-port", "#{options.bookie_port}", "-nfw", "-nss"]
  end

  defp script, do: Application.app_dir(:amdgpu_framework, "priv/standalone/run.sh")

  defp executable(name, message) do
    case System.find_executable(name) do
      nil -> {:error, Error.exception(message)}
      path -> {:ok, path}
    end
  end

  # "17.0.15", "21", and "1.8.0" for Java 8.
  defp java_version(java) do
    {output, _} = System.cmd(java, ["-version"], stderr_to_stdout: true)

    case Regex.run(~r/version "(?:1\.)?(\d+)/, output) do
      [_, version] -> String.to_integer(version)
      nil -> 0
    end
  end
end
