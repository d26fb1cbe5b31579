defmodule AMDGPUFramework.Messaging.TopicName do
  @moduledoc false
  # A topic may be written short; the broker and message ids know its full name.

  @doc """
  The full name of a topic.

      iex> alias AMDGPUFramework.Messaging.TopicName
      iex> TopicName.full("compute-operations", "public", "default")
      {:ok, "persistent://public/default/compute-operations"}
      iex> TopicName.full("physics/runs/results", "public", "default")
      {:ok, "persistent://physics/runs/results"}
      iex> TopicName.full("non-persistent://a/b/c", "public", "default")
      {:ok, "non-persistent://a/b/c"}
      iex> TopicName.full("a/b", "public", "default")
      :error
  """
  @spec full(term, String.t(), String.t()) :: {:ok, String.t()} | :error
  def full(topic, tenant, namespace) when is_binary(topic) do
    {domain, rest} =
      case String.split(topic, "://", parts: 2) do
        [rest] -> {"persistent", rest}
        [domain, rest] -> {domain, rest}
      end

    parts = String.split(rest, "/")

    cond do
      not String.valid?(topic) -> :error
      domain not in ["persistent", "non-persistent"] or "" in parts -> :error
      length(parts) == 1 -> {:ok, "#{domain}://#{tenant}/#{namespace}/#{rest}"}
      length(parts) >= 3 -> {:ok, "#{domain}://#{rest}"}
      true -> :error
    end
  end

  def full(_topic, _tenant, _namespace), do: :error

  @doc "What `full/3` accepts, in the words of an error."
  @spec allowed() :: String.t()
  def allowed,
    do:
      ~s(a topic name such as "orders", "tenant/namespace/orders" or "persistent://tenant/namespace/orders")
end
