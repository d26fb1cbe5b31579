defmodule AMDGPUFramework.Messaging.JSON do
  @moduledoc false
  # JSON by the native library. Small inputs are coded on the spot, large ones on a dirty scheduler.

  alias AMDGPUFramework.Messaging.Native

  @spec encode(term) :: {:ok, binary} | {:error, {:invalid_option, atom, String.t(), String.t()}}
  def encode(term) do
    with :too_large <- Native.json_encode(term), do: Native.json_encode_large(term)
  end

  @spec decode(binary) :: {:ok, term} | {:error, {:json, String.t()}}
  def decode(text) do
    with :too_large <- Native.json_decode(text), do: Native.json_decode_large(text)
  end
end
