defmodule AMDGPUFramework.Demo.Tally do
  @moduledoc false
  # What became of the messages of one round: when each was sent, which results are verified, how long they took.
  # The sender writes times, the collector everything else.

  alias AMDGPUFramework.Demo.Workload
  alias AMDGPUFramework.Messaging.JSON

  @enforce_keys [:round, :total, :sent_at, :latencies]
  defstruct [
    :round,
    :total,
    :sent_at,
    :latencies,
    :device,
    verified: 0,
    duplicates: 0,
    wrong: [],
    wrong_count: 0
  ]

  @type t :: %__MODULE__{}

  # Enough to see what is wrong.
  @wrong_shown 5

  @spec new(round :: pos_integer, total :: pos_integer) :: t
  def new(round, total) do
    %__MODULE__{
      round: round,
      total: total,
      sent_at: :atomics.new(total, signed: true),
      latencies: :atomics.new(total, signed: true)
    }
  end

  @doc "The correlation id of a message."
  @spec correlation_id(t, non_neg_integer) :: String.t()
  def correlation_id(%__MODULE__{round: round}, number), do: "#{round}-#{number}"

  @doc "Notes that a message is about to be sent."
  @spec sent(t, non_neg_integer) :: :ok
  def sent(%__MODULE__{sent_at: times}, number), do: :atomics.put(times, number + 1, now())

  @doc "Checks a result; true with it where it is the first right one of its message."
  @spec record(t, binary) :: {t, boolean}
  def record(%__MODULE__{} = tally, payload) do
    with {:ok, result} <- JSON.decode(payload),
         {:ok, number} <- number(tally, result["correlation_id"]),
         :ok <- verify(number, result) do
      count(%{tally | device: tally.device || device(result)}, number)
    else
      :other_round -> {tally, false}
      {:error, why} -> {wrong(tally, why, payload), false}
    end
  end

  @doc "Whether there is a right result for every message."
  @spec complete?(t) :: boolean
  def complete?(%__MODULE__{verified: verified, total: total}), do: verified == total

  @doc "The latency in ms that a share of the messages did not exceed."
  @spec percentiles(t, [float]) :: [float]
  def percentiles(%__MODULE__{verified: 0}, shares), do: Enum.map(shares, fn _ -> 0.0 end)

  def percentiles(%__MODULE__{total: total, latencies: latencies}, shares) do
    sorted =
      for(number <- 1..total, (latency = :atomics.get(latencies, number)) > 0, do: latency)
      |> Enum.sort()
      |> List.to_tuple()

    last = tuple_size(sorted) - 1
    for share <- shares, do: elem(sorted, min(last, trunc(share * (last + 1)))) / 1000
  end

  defp number(%{round: round, total: total}, correlation_id) do
    with text when is_binary(text) <- correlation_id,
         [prefix, suffix] <- String.split(text, "-"),
         {of_round, ""} <- Integer.parse(prefix),
         {number, ""} <- Integer.parse(suffix) do
      cond do
        of_round != round -> :other_round
        number in 0..(total - 1) -> {:ok, number}
        true -> {:error, "a correlation id that was never sent"}
      end
    else
      _ -> {:error, "no correlation id"}
    end
  end

  defp verify(number, %{"status" => "ok", "result" => result}) do
    {type, shape, data} = Workload.expected(number)

    case result do
      %{"type" => ^type, "shape" => ^shape, "data" => encoded} ->
        if Base.decode64(encoded) == {:ok, data}, do: :ok, else: {:error, "another value"}

      _ ->
        {:error, "another type or shape"}
    end
  end

  defp verify(_number, _result), do: {:error, "no result"}

  defp count(%{latencies: latencies} = tally, number) do
    case :atomics.get(latencies, number + 1) do
      0 ->
        latency = max(now() - :atomics.get(tally.sent_at, number + 1), 1)
        :atomics.put(latencies, number + 1, latency)
        {%{tally | verified: tally.verified + 1}, true}

      _ ->
        {%{tally | duplicates: tally.duplicates + 1}, false}
    end
  end

  defp wrong(tally, why, payload) do
    shown = [{why, String.slice(inspect(payload), 0, 300)}]
    wrong = if tally.wrong_count < @wrong_shown, do: tally.wrong ++ shown, else: tally.wrong
    %{tally | wrong: wrong, wrong_count: tally.wrong_count + 1}
  end

  defp device(%{"device" => %{"id" => id, "backend" => backend, "name" => name}}),
    do: "#{backend}:#{id} (#{name})"

  defp device(_result), do: nil

  defp now, do: System.monotonic_time(:microsecond)
end
