defmodule AMDGPUFramework.Messaging.FrameworkMessage do
  @moduledoc false
  # What the message types of this framework have in common: required fields, enrichment, JSON.

  alias AMDGPUFramework.Messaging.{JSON, UUID}

  @source "amdgpu_framework"
  @version "1.0"

  @doc """
  Checks that the required fields are there, under atom or string keys, and adds what every message carries.

      iex> alias AMDGPUFramework.Messaging.FrameworkMessage
      iex> {:ok, message} = FrameworkMessage.prepare(%{user_id: "u"}, [:user_id])
      iex> {message["user_id"], message["source"], message["version"]}
      {"u", "amdgpu_framework", "1.0"}
      iex> FrameworkMessage.prepare(%{"user_id" => nil}, [:user_id])
      {:error, {:validation_failed, {:missing_field, :user_id}}}
      iex> FrameworkMessage.prepare("text", [:user_id])
      {:error, {:validation_failed, :not_a_map}}
  """
  @spec prepare(term, [atom]) :: {:ok, map} | {:error, {:validation_failed, term}}
  def prepare(message, required) when is_map(message) do
    fields = message |> plain() |> Map.new(fn {key, value} -> {to_string(key), value} end)

    case Enum.find(required, &(Map.get(fields, Atom.to_string(&1)) == nil)) do
      nil -> {:ok, Map.merge(fields, enrichment())}
      field -> {:error, {:validation_failed, {:missing_field, field}}}
    end
  end

  def prepare(_message, _required), do: {:error, {:validation_failed, :not_a_map}}

  @doc "The prepared message as JSON."
  @spec encode(term, [atom]) :: {:ok, binary} | {:error, term}
  def encode(message, required) do
    with {:ok, message} <- prepare(message, required), do: JSON.encode(message)
  end

  # The id and the time are those of this sending, whatever the message had.
  defp enrichment do
    %{
      "message_id" => UUID.uuid4(),
      "timestamp" => System.os_time(:second),
      "source" => @source,
      "version" => @version
    }
  end

  defp plain(%_{} = struct), do: Map.from_struct(struct)
  defp plain(map), do: map
end
