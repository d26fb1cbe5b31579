defmodule AMDGPUFramework.Standalone.Options do
  @moduledoc false
  # The options of a standalone broker: checked once, completed with free ports, and what follows from them.

  alias AMDGPUFramework.Standalone.Error

  defstruct port: 6650,
            http_port: 8080,
            bookie_port: 3181,
            data_dir: ".pulsar",
            set: [],
            admin_token: nil,
            ready_timeout: 120_000,
            name: nil

  @port_keys [:port, :http_port, :bookie_port]
  @port_settings %{"brokerServicePort" => :port, "webServicePort" => :http_port}

  # Below the ports that Linux and macOS give to outgoing connections: a client of the broker cannot take
  # the port of a broker that is down.
  @free_ports 10_240..32_000

  @spec validate(keyword) :: {:ok, struct} | {:error, Exception.t()}
  def validate(options) do
    with {:ok, options} <- check_all(options) do
      options = struct!(__MODULE__, options)
      {:ok, choose_ports(%{options | data_dir: Path.expand(options.data_dir)})}
    end
  end

  @spec require_free_ports(struct) :: :ok | {:error, Exception.t()}
  def require_free_ports(options) do
    case Enum.find(@port_keys, &(not free?(Map.fetch!(options, &1)))) do
      nil ->
        :ok

      key ->
        port = Map.fetch!(options, key)

        text =
          "#{key} #{port} is in use, perhaps by another broker; choose another, or 0 for a free one"

        {:error, Error.exception(text)}
    end
  end

  @spec log(struct) :: Path.t()
  def log(options), do: Path.join(options.data_dir, "standalone.log")

  @spec configuration_file(struct) :: Path.t()
  def configuration_file(options), do: Path.join(options.data_dir, "standalone.conf")

  defp check_all(options) do
    Enum.reduce_while(options, {:ok, []}, fn {key, value}, {:ok, checked} ->
      case check(key, value) do
        {:ok, value} -> {:cont, {:ok, [{key, value} | checked]}}
        {:error, allowed} -> {:halt, {:error, invalid(key, value, allowed)}}
      end
    end)
  end

  defp check(key, value) when key in @port_keys do
    if value in 0..65_535, do: {:ok, value}, else: {:error, "a port number, or 0 for a free one"}
  end

  defp check(:data_dir, value) when is_binary(value) and value != "", do: {:ok, value}
  defp check(:data_dir, _value), do: {:error, "the path of a directory"}

  defp check(:admin_token, value) when is_binary(value) or is_nil(value), do: {:ok, value}
  defp check(:admin_token, _value), do: {:error, "a string"}

  defp check(:ready_timeout, value) when is_integer(value) and value > 0, do: {:ok, value}
  defp check(:ready_timeout, _value), do: {:error, "a positive number of milliseconds"}

  defp check(:name, value), do: {:ok, value}

  defp check(:set, settings) do
    if Enumerable.impl_for(settings) && Enum.all?(settings, &match?({_key, _value}, &1)) do
      check_settings(
        Enum.map(settings, fn {key, value} -> {to_string(key), to_string(value)} end)
      )
    else
      {:error, "pairs of broker configuration keys and values"}
    end
  end

  defp check(_key, _value) do
    known = %__MODULE__{} |> Map.from_struct() |> Map.keys() |> Enum.join(", ")
    {:error, "one of the options #{known}"}
  end

  defp check_settings(settings) do
    text = Enum.map_join(settings, fn {key, value} -> key <> value end)
    reserved = Enum.find(settings, fn {key, _} -> Map.has_key?(@port_settings, key) end)

    cond do
      reserved ->
        {:error, "any key but this: the option #{@port_settings[elem(reserved, 0)]} sets it"}

      text =~ ~r/[\r\n]/ ->
        {:error, "keys and values of one line"}

      true ->
        {:ok, settings}
    end
  end

  defp invalid(key, value, allowed) do
    Error.exception("invalid option #{key}: #{inspect(value)}; allowed is #{allowed}")
  end

  defp choose_ports(options) do
    Enum.reduce(@port_keys, options, fn key, options ->
      if Map.fetch!(options, key) == 0 do
        taken = Enum.map(@port_keys, &Map.fetch!(options, &1))
        Map.replace!(options, key, free_port(taken))
      else
        options
      end
    end)
  end

  defp free_port(taken) do
    port = Enum.random(@free_ports)
    if port not in taken and free?(port), do: port, else: free_port(taken)
  end

  defp free?(port) do
    case :gen_tcp.listen(port, ip: {127, 0, 0, 1}, reuseaddr: true) do
      {:ok, socket} -> :gen_tcp.close(socket) == :ok
      {:error, _} -> false
    end
  end
end
