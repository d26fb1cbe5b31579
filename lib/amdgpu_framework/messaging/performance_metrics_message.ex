defmodule AMDGPUFramework.Messaging.PerformanceMetricsMessage do
  @moduledoc """
  The result of a benchmark, as `AMDGPUFramework.Messaging.PulsarManager.send_performance_metrics_message/2` sends it.

  Required: `benchmark_name`, `execution_time_ms`, `memory_usage_mb`. Optional: `language`, `hardware_config`,
  `gpu_utilization_percent`, `energy_consumption_wh`. Sending adds `message_id`, `timestamp`, `source` and `version`.
  """

  alias AMDGPUFramework.Messaging.FrameworkMessage

  @required [:benchmark_name, :execution_time_ms, :memory_usage_mb]

  @doc """
  Checks and completes a message, with atom or string keys; the result has string keys.

      iex> alias AMDGPUFramework.Messaging.PerformanceMetricsMessage
      iex> {:ok, message} = PerformanceMetricsMessage.prepare(%{"benchmark_name" => "gemm", "execution_time_ms" => 0, "memory_usage_mb" => 12})
      iex> message["execution_time_ms"]
      0
  """
  @spec prepare(map) :: {:ok, map} | {:error, {:validation_failed, term}}
  def prepare(message), do: FrameworkMessage.prepare(message, @required)

  @doc """
  The completed message as JSON.

      {:ok, payload} = PerformanceMetricsMessage.encode(message)

  """
  @spec encode(map) :: {:ok, binary} | {:error, term}
  def encode(message), do: FrameworkMessage.encode(message, @required)
end
