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

  # Those that stand in an application's tree are gone by now; others would lose what is under way.
  @impl true
  def prep_stop(state) do
    stopping =
      for manager <- Events.managers(),
          do: spawn_monitor(fn -> GenServer.stop(manager, :normal, :infinity) end)

    # Each takes its `:shutdown_timeout` at most.
    for {pid, monitor} <- stopping, do: receive(do: ({:DOWN, ^monitor, :process, ^pid, _} -> :ok))
    state
  end

  @doc false
  # In the order of who calls whom: events release handles, message handlers publish.
  def children, do: [PubSub, Handles] ++ MessageHandler.children() ++ [Events]
end
