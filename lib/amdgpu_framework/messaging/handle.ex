defmodule AMDGPUFramework.Messaging.Handle do
  @moduledoc """
  An open producer or consumer, as `AMDGPUFramework.Messaging.PulsarManager.lookup/1` gives it.

  Every function that takes an id takes a handle too, and then looks nothing up: for a process that sends or
  acknowledges single messages at a high rate. Treat it as opaque. A handle of something closed stays valid as a term and
  answers `{:error, :closed}`.
  """

  @enforce_keys [:kind, :id, :native, :manager, :instance]
  defstruct [:kind, :id, :native, :manager, :instance, block: true]

  @type t :: %__MODULE__{
          kind: :producer | :consumer,
          id: String.t(),
          native: reference,
          manager: GenServer.server(),
          instance: pos_integer,
          block: boolean
        }

  defimpl Inspect do
    def inspect(handle, _opts), do: "#PulsarHandle<#{handle.kind} #{Kernel.inspect(handle.id)}>"
  end
end
