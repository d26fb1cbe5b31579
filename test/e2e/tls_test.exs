defmodule AMDGPUFramework.E2E.TlsTest do
  use AMDGPUFramework.E2ECase, async: false

  @moduletag timeout: 300_000

  setup_all do
    directory = TestBroker.data_dir()
    certificates = Path.join(directory, "certificates")
    File.mkdir_p!(certificates)
    authority = certificate_authority(certificates, "authority")
    {certificate, key} = server_certificate(certificates, authority)
    port = free_port()

    settings = [
      brokerServicePortTls: port,
      tlsCertificateFilePath: certificate,
      tlsKeyFilePath: key,
      tlsTrustCertsFilePath: authority.certificate
    ]

    info = Standalone.info(TestBroker.start!(data_dir: directory, set: settings))
    other = certificate_authority(certificates, "other")

    [
      tls: %{info | service_url: "pulsar+ssl://127.0.0.1:#{port}"},
      by_name: %{info | service_url: "pulsar+ssl://localhost:#{port}"},
      trusted: authority.certificate,
      untrusted: other.certificate
    ]
  end

  test "messages travel encrypted, with a certificate that is verified", context do
    topic = TestBroker.topic("tls")
    manager = start_manager(context.tls, tls: [ca_file: context.trusted])
    assert {:ok, %{connected: true}} = PulsarManager.health(manager)

    consumer = consumer!(manager, topic)
    payloads = for n <- 1..200, do: :binary.copy("#{n} ", 1_000)
    {:ok, _} = PulsarManager.send_messages(producer!(manager, topic), payloads)
    assert payloads(receive_messages(consumer, 200)) == payloads
  end

  test "a broker that cannot be trusted is refused, and the error says why", context do
    for {info, tls} <- [
          {context.tls, [ca_file: context.untrusted]},
          {context.tls, []},
          # The certificate is for another name.
          {context.by_name, [ca_file: context.trusted]}
        ] do
      manager = start_manager(info, tls: tls, operation_timeout: 3_000)
      assert {:ok, %{connected: false, error: error}} = PulsarManager.health(manager)
      assert error =~ ~r/certificate/i
    end
  end

  test "the name in the certificate is not looked at where that is turned off", context do
    tls = [ca_file: context.trusted, hostname_verification: false]
    manager = start_manager(context.by_name, tls: tls)
    assert {:ok, %{connected: true}} = PulsarManager.health(manager)
  end

  defp certificate_authority(directory, name) do
    key = Path.join(directory, "#{name}-key.pem")
    certificate = Path.join(directory, "#{name}.pem")

    openssl(
      ~w(req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=#{name}) ++
        ~w(-keyout #{key} -out #{certificate} -addext basicConstraints=critical,CA:TRUE)
    )

    %{key: key, certificate: certificate}
  end

  defp server_certificate(directory, authority) do
    [key, request, certificate, extensions] =
      for file <- ~w(server-key.pem server.csr server.pem server.ext),
          do: Path.join(directory, file)

    File.write!(extensions, "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")

    openssl(~w(req -newkey rsa:2048 -nodes -subj /CN=broker -keyout #{key} -out #{request}))

    openssl(
      ~w(x509 -req -in #{request} -CA #{authority.certificate} -CAkey #{authority.key}) ++
        ~w(-CAcreateserial -days 2 -extfile #{extensions} -out #{certificate})
    )

    {certificate, key}
  end

  defp openssl(arguments) do
    {output, status} = System.cmd("openssl", arguments, stderr_to_stdout: true)
    if status != 0, do: raise("openssl #{hd(arguments)}: #{output}")
  end

  # The broker opens it a moment later: below the ports that the system gives to others.
  defp free_port do
    port = Enum.random(10_240..32_000)

    case :gen_tcp.listen(port, ip: {127, 0, 0, 1}) do
      {:ok, socket} ->
        :ok = :gen_tcp.close(socket)
        port

      {:error, _} ->
        free_port()
    end
  end
end
