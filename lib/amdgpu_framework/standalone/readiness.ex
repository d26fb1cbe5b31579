defmodule AMDGPUFramework.Standalone.Readiness do
  @moduledoc false
  # Whether a broker takes messages: its own health check writes one and reads it back; the default namespace
  # is there; and a topic in it finds the broker that serves it.

  @request_timeout 5_000

  @checks [
    {"/admin/v2/brokers/health", "ok"},
    {"/admin/v2/namespaces/public", "public/default"},
    {"/lookup/v2/topic/persistent/public/default/standalone-readiness", "brokerUrl"}
  ]

  @spec check(struct) :: :ok | {:error, String.t()}
  def check(options) do
    {:ok, _} = Application.ensure_all_started(:inets)

    Enum.find_value(@checks, :ok, fn {path, expected} ->
      case get(options, path) do
        {:ok, 200, body} ->
          if body =~ expected, do: nil, else: {:error, "#{path} answered #{inspect(body)}"}

        {:ok, status, _body} ->
          {:error, "#{path} answered #{status}"}

        {:error, reason} ->
          {:error, "#{path}: #{inspect(reason)}"}
      end
    end)
  end

  defp get(options, path) do
    url = 'http://127.0.0.1:#{options.http_port}#{path}'
    settings = [timeout: @request_timeout, connect_timeout: @request_timeout, autoredirect: false]

    case :httpc.request(:get, {url, headers(options)}, settings, body_format: :binary) do
      {:ok, {{_version, status, _text}, _headers, body}} -> {:ok, status, body}
      {:error, reason} -> {:error, reason}
    end
  end

  # A kept connection would outlive the broker that is killed at its other end.
  defp headers(%{admin_token: nil}), do: [{'connection', 'close'}]

  defp headers(%{admin_token: token}) do
    [{'authorization', 'Bearer #{token}'} | headers(%{admin_token: nil})]
  end
end
