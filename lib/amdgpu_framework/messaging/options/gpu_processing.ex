defmodule AMDGPUFramework.Messaging.Options.GpuProcessing do
  @moduledoc false
  # `gpu_processing` of the cluster configuration: which devices, and how they are driven.

  alias AMDGPUFramework.Messaging.Options

  @spec schema() :: Options.schema()
  def schema do
    [
      enabled: [
        type: :boolean,
        default: true,
        doc: "`false` refuses GPU processing; `true` without a GPU computes on the CPU"
      ],
      gpu_device_ids: [
        type: {:list, {:integer, 0, 4095}},
        default: [],
        doc: "the devices to use, by number; an empty list means all"
      ],
      batch_size: [
        type: {:integer, 1, 100_000},
        default: 100,
        doc: "messages in a device batch where the pipeline names no size"
      ],
      processing_threads: [
        type: {:nullable, {:integer, 1, 1024}},
        default: nil,
        doc: "threads of the CPU device; nil means one a core"
      ],
      memory_pool_size_mb: [
        type: {:integer, 1, 1_048_576},
        default: 256,
        doc: "memory kept ready on each device"
      ],
      kernel_optimization: [
        type: :boolean,
        default: true,
        doc: "compile kernels with optimisation"
      ]
    ]
  end

  @doc "The defaults, as validation would give them."
  @spec defaults() :: map
  def defaults, do: Map.new(schema(), fn {key, spec} -> {key, spec[:default]} end)
end
