defmodule AMDGPUFramework.Messaging.NativeLibrary do
  @moduledoc false
  # Finds and loads priv/native/messaging_nif, and says what to do where that fails.

  @application :amdgpu_framework
  @native AMDGPUFramework.Messaging.Native

  @doc "Adds to a failure of `:erlang.load_nif/2` what to do about it."
  @spec explain(:ok | {:error, {atom, charlist}}) :: :ok | {:error, {atom, charlist}}
  def explain(:ok), do: :ok
  def explain({:error, {kind, text}}), do: {:error, {kind, advice(kind, text)}}

  @doc "Whether the functions of `Native` can be called; else the reason to stop with."
  @spec ensure_loaded() :: :ok | {:error, {:native_library, String.t()}}
  def ensure_loaded do
    case Code.ensure_loaded(@native) do
      {:module, _} -> :ok
      {:error, _} -> {:error, {:native_library, missing()}}
    end
  end

  @doc "Where the library lies, without its extension."
  @spec path() :: {:ok, charlist} | {:error, {atom, charlist}}
  def path do
    case :code.priv_dir(@application) do
      {:error, :bad_name} ->
        {:error, {:bad_name, 'the application amdgpu_framework is not in the code path'}}

      directory ->
        {:ok, :filename.join(directory, 'native/messaging_nif')}
    end
  end

  # The running module keeps its library: a new one would share threads and handles with the old one.
  defp advice(kind, _text) when kind in [:reload, :upgrade],
    do: 'the native library is in use: restart the VM to load the new one'

  defp advice(_kind, text), do: text

  defp missing do
    "the native library could not be loaded (a warning in the log says which file, and why); " <>
      "`mix compile` builds it into priv/native"
  end
end
