defmodule AMDGPUFramework.Messaging.Native do
  @moduledoc false
  # The functions of native/messaging_nif, and nothing else. Every one returns at once; what takes time
  # answers `{ref, result}` to the process that called.

  alias AMDGPUFramework.Messaging.NativeLibrary

  # Loading happens where the application runs, never while it is compiled.
  @compile {:autoload, false}
  @on_load :load

  @doc false
  def load do
    # Only this module itself may load the library that its functions come from.
    with {:ok, path} <- NativeLibrary.path(),
         do: path |> :erlang.load_nif(0) |> NativeLibrary.explain()
  end

  def version, do: not_loaded()

  def client_open(_config, _tag, _events_to), do: not_loaded()
  def client_close(_client, _ref, _timeout_ms), do: not_loaded()
  def client_health(_client, _ref), do: not_loaded()

  def producer_open(_client, _ref, _id, _topic, _opts, _owner), do: not_loaded()
  def producer_send(_producer, _ref, _entries, _block?), do: not_loaded()
  def producer_cancel(_producer, _ref), do: not_loaded()
  def producer_flush(_producer, _ref), do: not_loaded()
  def producer_close(_producer, _ref), do: not_loaded()
  def producer_stats(_producer), do: not_loaded()

  def consumer_open(_client, _ref, _id, _topics, _subscription, _opts, _owner), do: not_loaded()
  def consumer_ack(_consumer, _messages), do: not_loaded()
  def consumer_nack(_consumer, _messages), do: not_loaded()
  def consumer_ack_cumulative(_consumer, _message), do: not_loaded()
  def consumer_request(_consumer, _count), do: not_loaded()
  def consumer_pause(_consumer), do: not_loaded()
  def consumer_resume(_consumer), do: not_loaded()
  def consumer_seek(_consumer, _ref, _position), do: not_loaded()
  def consumer_unsubscribe(_consumer, _ref), do: not_loaded()
  def consumer_close(_consumer, _ref), do: not_loaded()
  def consumer_stats(_consumer), do: not_loaded()

  def processor_start(_consumer, _client, _ref, _config, _results_to), do: not_loaded()
  def processor_delivered(_processor, _count), do: not_loaded()
  def processor_stop(_processor, _ref), do: not_loaded()
  def processor_stats(_processor), do: not_loaded()
  def gpu_devices, do: not_loaded()

  def json_encode(_term), do: not_loaded()
  def json_encode_large(_term), do: not_loaded()
  def json_decode(_binary), do: not_loaded()
  def json_decode_large(_binary), do: not_loaded()
  def message_id_to_binary(_message_id), do: not_loaded()
  def message_id_from_binary(_binary, _topic), do: not_loaded()

  defp not_loaded, do: :erlang.nif_error(:nif_not_loaded)
end
