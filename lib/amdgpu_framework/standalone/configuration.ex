defmodule AMDGPUFramework.Standalone.Configuration do
  @moduledoc false
  # The broker's configuration file: the settings of priv/standalone/standalone.conf, what only this machine and
  # the options of the start know, and the caller's settings over all.

  alias AMDGPUFramework.Standalone.{Error, Options}

  @spec write(struct) :: :ok | {:error, Exception.t()}
  def write(options) do
    with :ok <- File.mkdir_p(options.data_dir),
         :ok <- keep_last_log(Options.log(options)),
         :ok <- File.write(Options.configuration_file(options), render(base(), options)) do
      :ok
    else
      {:error, reason} ->
        text = "cannot write into #{options.data_dir}: #{:file.format_error(reason)}"
        {:error, Error.exception(text)}
    end
  end

  @doc false
  def render(base, options) do
    base
    |> parse()
    |> Map.merge(loopback())
    |> Map.put("brokerServicePort", options.port)
    |> Map.put("webServicePort", options.http_port)
    |> Map.merge(Map.new(options.set))
    |> Enum.sort()
    |> Enum.map_join(fn {key, value} -> "#{key}=#{value}\n" end)
  end

  defp parse(text) do
    for line <- String.split(text, "\n"),
        not String.starts_with?(line, "#"),
        [key, value] <- [String.split(line, "=", parts: 2)],
        into: %{} do
      {String.trim(key), String.trim(value)}
    end
  end

  # The storage node would listen on all addresses; it is told an interface, not an address.
  defp loopback do
    {:ok, interfaces} = :inet.getifaddrs()

    case Enum.find(interfaces, fn {_name, facts} -> :loopback in facts[:flags] end) do
      {name, _facts} -> %{"listeningInterface" => name, "allowLoopback" => true}
      nil -> %{}
    end
  end

  defp base do
    File.read!(Application.app_dir(:amdgpu_framework, "priv/standalone/standalone.conf"))
  end

  # One earlier run is enough to look back on; the log does not grow without end.
  defp keep_last_log(log) do
    case File.rename(log, log <> ".1") do
      {:error, :enoent} -> :ok
      result -> result
    end
  end
end
