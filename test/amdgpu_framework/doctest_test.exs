defmodule AMDGPUFramework.DoctestTest do
  use ExUnit.Case, async: true

  doctest AMDGPUFramework.Messaging.Chunks
  doctest AMDGPUFramework.Messaging.ClusterConfig
  doctest AMDGPUFramework.Messaging.ComputeMessage
  doctest AMDGPUFramework.Messaging.DataLineageMessage
  doctest AMDGPUFramework.Messaging.Error
  doctest AMDGPUFramework.Messaging.FrameworkMessage
  doctest AMDGPUFramework.Messaging.GpuPipelineConfig
  doctest AMDGPUFramework.Messaging.Message
  doctest AMDGPUFramework.Messaging.MessageId
  doctest AMDGPUFramework.Messaging.Options
  doctest AMDGPUFramework.Messaging.PerformanceMetricsMessage
  doctest AMDGPUFramework.Messaging.Telemetry
  doctest AMDGPUFramework.Messaging.TopicName
  doctest AMDGPUFramework.Messaging.UUID
end
