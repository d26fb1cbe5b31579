defmodule AMDGPUFramework.Demo.Console do
  @moduledoc false
  # What the demonstration prints: a progress line that a terminal overwrites and a log file gets now and then, and tables.

  @terminal_interval 100
  @log_interval 2_000
  @bar 30

  defstruct [:terminal?, :started_at, shown_at: 0]

  @type t :: %__MODULE__{}

  @doc "How often `progress/3` should be called, in ms."
  @spec interval() :: pos_integer
  def interval, do: @terminal_interval

  @spec new() :: t
  def new do
    terminal? = IO.ANSI.enabled?()
    now = now()
    %__MODULE__{terminal?: terminal?, started_at: now, shown_at: now}
  end

  @doc "Shows how far a round is."
  @spec progress(t, AMDGPUFramework.Demo.Tally.t(), String.t()) :: t
  def progress(%__MODULE__{terminal?: true} = console, tally, note) do
    IO.write(["\r", IO.ANSI.clear_line(), line(console, tally, note)])
    console
  end

  def progress(console, tally, note) do
    if now() - console.shown_at >= @log_interval do
      IO.puts(line(console, tally, note))
      %{console | shown_at: now()}
    else
      console
    end
  end

  @doc "Shows the last state of a round and leaves its line."
  @spec finish(t, AMDGPUFramework.Demo.Tally.t(), String.t()) :: :ok
  def finish(console, tally, note) do
    if console.terminal?, do: IO.write(["\r", IO.ANSI.clear_line()])
    IO.puts(line(console, tally, note))
  end

  @doc "Prints rows of a label and a value each."
  @spec table([{String.t(), String.t()}]) :: :ok
  def table(rows) do
    width = rows |> Enum.map(fn {label, _} -> String.length(label) end) |> Enum.max()
    IO.puts("")
    for {label, value} <- rows, do: IO.puts("  #{String.pad_trailing(label, width)}  #{value}")
    :ok
  end

  @doc """
  A number that can be read.

      iex> AMDGPUFramework.Demo.Console.number(1234567)
      "1 234 567"
  """
  @spec number(integer) :: String.t()
  def number(integer) do
    integer
    |> Integer.to_string()
    |> String.reverse()
    |> String.to_charlist()
    |> Enum.chunk_every(3)
    |> Enum.join(" ")
    |> String.reverse()
  end

  @doc "Milliseconds, with as many digits as they deserve."
  @spec milliseconds(float) :: String.t()
  def milliseconds(ms) when ms >= 100, do: "#{number(round(ms))} ms"
  def milliseconds(ms), do: "#{:erlang.float_to_binary(ms / 1, decimals: 1)} ms"

  defp line(console, tally, note) do
    share = tally.verified / tally.total
    filled = trunc(share * @bar)
    bar = String.duplicate("#", filled) <> String.duplicate(".", @bar - filled)
    seconds = :erlang.float_to_binary((now() - console.started_at) / 1000, decimals: 1)
    percent = String.pad_leading("#{trunc(share * 100)}%", 4)
    "  [#{bar}] #{percent}  #{number(tally.verified)} verified  #{seconds} s#{note(note)}"
  end

  defp note(""), do: ""
  defp note(note), do: "  #{note}"

  defp now, do: System.monotonic_time(:millisecond)
end
