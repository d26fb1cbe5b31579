defmodule AMDGPUFramework.Demo.Workload do
  @moduledoc false
  # The operations that the demonstration sends, and their results, computed here in Elixir alone.
  #
  # Everything follows from a number, so a result can be checked whenever it comes, and nothing has to be kept. Elements
  # are small integers: float32 results are exact, whatever order a device adds in.

  import Bitwise

  @operations {"matrix_multiply", "vector_add", "vector_scale", "vector_dot", "sha256"}

  @type expected :: {type :: String.t(), shape :: [pos_integer], data :: binary}

  @doc "The names of the operations."
  @spec operations() :: [String.t()]
  def operations, do: Tuple.to_list(@operations)

  @doc """
  The message of a number, as `PulsarManager.send_compute_message/2` takes it.

      iex> message = AMDGPUFramework.Demo.Workload.message(4, "1-4")
      iex> {message.operation_type, message.correlation_id}
      {"sha256", "1-4"}
  """
  @spec message(non_neg_integer, String.t()) :: map
  def message(number, correlation_id) do
    {operation, input, parameters} = task(number)

    %{
      operation_type: operation,
      gpu_device_id: "any",
      input_data: Base.encode64(input),
      user_id: "demo",
      parameters: parameters,
      correlation_id: correlation_id
    }
  end

  @doc """
  The result that the message of a number must have.

      iex> {"bytes", [32], digest} = AMDGPUFramework.Demo.Workload.expected(4)
      iex> byte_size(digest)
      32
  """
  @spec expected(non_neg_integer) :: expected
  def expected(number) do
    case operation(number) do
      "matrix_multiply" ->
        [m, k, n] = sizes(number)
        {"float32", [m, n], float32(multiply(elements(number, m * k + k * n), m, k, n))}

      "vector_add" ->
        {a, b} = pair(number)
        {"float32", [length(a)], float32(Enum.zip_with(a, b, &(&1 + &2)))}

      "vector_scale" ->
        a = elements(number, vector_length(number))
        {"float32", [length(a)], float32(Enum.map(a, &(&1 * scalar(number))))}

      "vector_dot" ->
        {a, b} = pair(number)
        {"float32", [], float32([dot(a, b)])}

      "sha256" ->
        {"bytes", [32], :crypto.hash(:sha256, bytes(number))}
    end
  end

  defp task(number) do
    case operation(number) do
      "matrix_multiply" = operation ->
        [m, k, n] = sizes(number)
        input = float32(elements(number, m * k + k * n))
        {operation, input, %{m: m, k: k, n: n, precision: "float32"}}

      "vector_scale" = operation ->
        input = float32(elements(number, vector_length(number)))
        {operation, input, %{scalar: scalar(number)}}

      "sha256" = operation ->
        {operation, bytes(number), %{}}

      operation ->
        {operation, float32(elements(number, 2 * vector_length(number))), %{}}
    end
  end

  defp operation(number), do: elem(@operations, rem(number, tuple_size(@operations)))

  defp sizes(number), do: Enum.map([5, 7, 11], &(2 + rem(div(number, &1), 5)))
  defp vector_length(number), do: 8 + rem(div(number, 5), 25)
  defp scalar(number), do: 1 + rem(div(number, 5), 9)
  defp bytes(number), do: :binary.copy(<<number::64>>, 1 + rem(div(number, 5), 100))

  defp pair(number) do
    length = vector_length(number)
    Enum.split(elements(number, 2 * length), length)
  end

  # From -8 to 8, by a linear congruential generator.
  defp elements(number, count), do: elements(next(number + 1), count, [])

  defp elements(_state, 0, elements), do: elements

  defp elements(state, count, elements),
    do: elements(next(state), count - 1, [rem(state >>> 16, 17) - 8 | elements])

  defp next(state), do: state * 1_103_515_245 + 12_345 &&& 0x7FFFFFFF

  defp multiply(elements, m, k, n) do
    {a, b} = Enum.split(elements, m * k)
    columns = b |> Enum.chunk_every(n) |> Enum.zip_with(& &1)
    for row <- Enum.chunk_every(a, k), column <- columns, do: dot(row, column)
  end

  defp dot(a, b), do: Enum.zip_reduce(a, b, 0, fn x, y, sum -> sum + x * y end)

  defp float32(values), do: for(value <- values, into: <<>>, do: <<value::float-32-little>>)
end
