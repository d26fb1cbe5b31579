defmodule AMDGPUFramework.Messaging.ComputeMessage do
  @moduledoc """
  A compute operation, as `AMDGPUFramework.Messaging.PulsarManager.send_compute_message/2` sends it.

  Required: `operation_type`, `gpu_device_id`, `input_data` (Base64), `user_id`. Optional: `parameters`, `correlation_id`.
  Sending adds `message_id` (a random UUID), `timestamp` (Unix seconds), `source` and `version`.
  """

  alias AMDGPUFramework.Messaging.FrameworkMessage

  @required [:operation_type, :gpu_device_id, :input_data, :user_id]

  @doc """
  Checks and completes a message, with atom or string keys; the result has string keys.

      iex> alias AMDGPUFramework.Messaging.ComputeMessage
      iex> {:ok, message} = ComputeMessage.prepare(%{
      ...>   operation_type: "matrix_multiply",
      ...>   gpu_device_id: "amd_rdna3_0",
      ...>   input_data: Base.encode64("matrix_data_here"),
      ...>   user_id: "user_123"
      ...> })
      iex> {message["operation_type"], message["version"]}
      {"matrix_multiply", "1.0"}
      iex> ComputeMessage.prepare(%{operation_type: "sha256"})
      {:error, {:validation_failed, {:missing_field, :gpu_device_id}}}
  """
  @spec prepare(map) :: {:ok, map} | {:error, {:validation_failed, term}}
  def prepare(message), do: FrameworkMessage.prepare(message, @required)

  @doc """
  The completed message as JSON: a payload for `send_messages/2`, where many are sent at once.

      {:ok, payload} = ComputeMessage.encode(message)
      {:ok, [_id]} = PulsarManager.send_messages("compute_producer_1", [payload])

  """
  @spec encode(map) :: {:ok, binary} | {:error, term}
  def encode(message), do: FrameworkMessage.encode(message, @required)
end
