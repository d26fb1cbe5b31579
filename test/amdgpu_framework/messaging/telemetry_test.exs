defmodule AMDGPUFramework.Messaging.TelemetryTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.Telemetry

  test "a change of state counts as one; the rest is metadata" do
    assert {[:amdgpu_framework, :consumer, :disconnected], %{count: 1},
            %{consumer_id: "c", reason: "r", manager: :m}} =
             Telemetry.event(%{
               event_type: "consumer_disconnected",
               consumer_id: "c",
               reason: "r",
               manager: :m
             })
  end

  test "a batch has its numbers" do
    event = %{
      event_type: "gpu_processing_completed",
      consumer_id: "c",
      device: "cpu:0",
      count: 5,
      failed: 1,
      processing_time_us: 12
    }

    assert Telemetry.event(event) ==
             {[:amdgpu_framework, :pipeline, :completed],
              %{count: 5, failed: 1, processing_time_us: 12},
              %{consumer_id: "c", device: "cpu:0"}}
  end

  test "without the telemetry application nothing happens" do
    assert :ok = Telemetry.emit(%{event_type: "producer_created", producer_id: "p"})
    assert :ok = Telemetry.emit(%{event_type: "unknown"})
  end
end
