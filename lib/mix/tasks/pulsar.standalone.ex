defmodule Mix.Tasks.Pulsar.Standalone do
  @shortdoc "Runs a real Apache Pulsar broker for development"

  @moduledoc """
  Runs a real Apache Pulsar 4.2.4 broker in the foreground, until Ctrl-C.

      mix pulsar.standalone [options]

  Needs Java 17 or newer and Maven, which downloads the broker into its own cache the first time.
  Under `iex -S mix pulsar.standalone` the prompt comes as soon as the broker is ready, and the broker ends with it.

  ## Options

    * `--port 6650` - for clients; 0 chooses a free port, as for the two below
    * `--http-port 8080` - for the admin API
    * `--bookie-port 3181` - for the storage node inside the broker; a data directory keeps the one of its first start
    * `--data-dir .pulsar` - where messages and the log stay; the next run finds them again
    * `--set key=value` - broker configuration, as often as wanted:
      `--set brokerDeduplicationEnabled=true --set transactionCoordinatorEnabled=true`
    * `--admin-token TOKEN` - for the readiness check, when `--set` turns authentication on
    * `--help` - prints this

  See `AMDGPUFramework.Standalone` for the same from Elixir.
  """

  use Mix.Task

  alias AMDGPUFramework.Standalone

  @switches [
    port: :integer,
    http_port: :integer,
    bookie_port: :integer,
    data_dir: :string,
    set: :keep,
    admin_token: :string,
    help: :boolean
  ]

  @impl true
  def run(arguments) do
    options = parse!(arguments)

    if options[:help] do
      Mix.shell().info(@moduledoc)
    else
      prompt? = IEx.started?()
      Mix.Task.run(if prompt?, do: "app.start", else: "app.config")
      broker = start!(Keyword.delete(options, :help))
      unless prompt?, do: wait(broker)
    end
  end

  defp parse!(arguments) do
    case OptionParser.parse(arguments, strict: @switches) do
      {options, [], []} ->
        {settings, options} = Keyword.pop_values(options, :set)
        [{:set, Enum.map(settings, &setting!/1)} | options]

      {_, _, [{switch, value} | _]} ->
        Mix.raise("invalid option #{switch} #{value}; see mix help pulsar.standalone")

      {_, [argument | _], _} ->
        Mix.raise("unexpected argument #{argument}; see mix help pulsar.standalone")
    end
  end

  defp setting!(text) do
    case String.split(text, "=", parts: 2) do
      [key, value] when key != "" -> {key, value}
      _ -> Mix.raise("invalid option --set #{text}; allowed is --set key=value")
    end
  end

  defp start!(options) do
    Mix.shell().info("Starting Apache Pulsar ...")

    case Standalone.start(options) do
      {:ok, broker} ->
        info = Standalone.info(broker)

        Mix.shell().info("""
        Apache Pulsar is ready
          clients  #{info.service_url}
          admin    #{info.admin_url}
          data     #{info.data_dir}
          log      #{info.log}
          process  #{info.os_pid}
        """)

        broker

      {:error, error} ->
        Mix.raise(Exception.message(error))
    end
  end

  defp wait(broker) do
    Mix.shell().info("Ctrl-C twice stops it")
    monitor = Process.monitor(broker)

    receive do
      {:DOWN, ^monitor, :process, _, {:shutdown, error}} -> Mix.raise(Exception.message(error))
      {:DOWN, ^monitor, :process, _, _reason} -> :ok
    end
  end
end
