defmodule AMDGPUFramework.Compute.GPU do
  @moduledoc """
  The devices that process messages.

  AMD devices are found through HIP, NVIDIA devices through CUDA; a machine with neither has one device, `"cpu:0"`, which does
  the same work and says so.
  """

  alias AMDGPUFramework.Messaging.Native

  @type device :: %{
          id: String.t(),
          backend: :cpu | :hip | :cuda,
          name: String.t(),
          architecture: String.t(),
          memory_total_mb: non_neg_integer,
          health: atom,
          load: map
        }

  @doc """
  The devices of this machine, with what each is and how busy it is now.

      [%{id: "cpu:0", backend: :cpu, health: :ok} | _] = AMDGPUFramework.Compute.GPU.devices()
  """
  @spec devices() :: [device]
  def devices, do: Native.gpu_devices()
end
