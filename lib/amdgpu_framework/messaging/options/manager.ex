defmodule AMDGPUFramework.Messaging.Options.Manager do
  @moduledoc false
  # How a manager is named: at its start, and where a function chooses one.

  @spec cast(term) :: {:ok, GenServer.server()} | :error
  def cast(nil), do: :error
  def cast(boolean) when is_boolean(boolean), do: :error
  def cast(name) when is_atom(name) or is_pid(name), do: {:ok, name}
  def cast({:global, _} = name), do: {:ok, name}
  def cast({:via, module, _} = name) when is_atom(module), do: {:ok, name}
  def cast(_name), do: :error

  @spec allowed() :: String.t()
  def allowed, do: "the name or the pid of a manager"
end
