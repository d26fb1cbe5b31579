defmodule AMDGPUFramework.Application do
  @moduledoc false
  # Starts what all managers share. It starts no manager: those stand in their users' trees.

  use Application

  alias AMDGPUFramework.Messaging.{Events, Handles, MessageHandler, NativeLibrary, PubSub}

  @impl true
  def start(_type, _args) do
    with :ok <- NativeLibrary.ensure_loaded() do
      Supervisor.start_link(children(),
        strategy: :rest_for_one,
        name: AMDGPUFramework.Supervisor
      )
    end
  end

  @doc false
  # In the order of who calls whom: events release handles, message handlers publish.
  def children, do: [PubSub, Handles] ++ MessageHandler.children() ++ [Events]
end
