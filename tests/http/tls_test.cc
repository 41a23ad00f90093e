// TLS: the certificate and the host's name are checked. Certificates are made here.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <boost/asio/ssl/context.hpp>
#include <filesystem>

#include "src/http/http.h"
#include "tests/http/stub.h"

namespace whyrec::http {
namespace {

// A self-signed certificate made out to `host` ("IP:127.0.0.1"), with its key, as PEM.
std::string Certificate(const std::string& host) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_EXTENSION* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, host.c_str());
  X509_add_ext(certificate, names, -1);
  X509_sign(certificate, key, EVP_sha256());
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(out, certificate);
  PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  char* bytes = nullptr;
  const long n = BIO_get_mem_data(out, &bytes);
  std::string pem(bytes, static_cast<size_t>(n));
  BIO_free(out);
  X509_EXTENSION_free(names);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return pem;
}

class HttpTls : public testing::Test {
 protected:
  HttpTls() { setenv("SSL_CERT_FILE", "/dev/null", 1); }
  ~HttpTls() override {
    unsetenv("SSL_CERT_FILE");
    std::filesystem::remove(trusted_);
  }

  void Serve(const std::string& host) {
    const std::string pem = Certificate(host);
    const boost::asio::const_buffer bytes(pem.data(), pem.size());
    context_.use_certificate(bytes, boost::asio::ssl::context::pem);
    context_.use_private_key(bytes, boost::asio::ssl::context::pem);
    std::ofstream(trusted_) << pem;
    stub_ = std::make_unique<Stub>(Stub::Handler{}, &context_);
    options_ = OptionsFor({stub_.get()});
    options_.key = "sk-secret";
  }
  void Trust() { setenv("SSL_CERT_FILE", trusted_.c_str(), 1); }
  // Refused at once, with nothing said.
  void ExpectRefused() {
    const auto start = std::chrono::steady_clock::now();
    const auto problem = Problem(options_, {Ask(1)}, Exit::kUnavailable);
    EXPECT_NE(problem.find("certificate is not trusted for"), std::string::npos) << problem;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
    EXPECT_EQ(stub_->connections(), 1);
    EXPECT_TRUE(stub_->questions().empty());
  }

  std::filesystem::path trusted_ =
      std::filesystem::temp_directory_path() / Cat("whyrec_http_tls_", getpid(), ".pem");
  boost::asio::ssl::context context_{boost::asio::ssl::context::tls_server};
  std::unique_ptr<Stub> stub_;
  Options options_;
};

TEST_F(HttpTls, TrustedAndForThisHost) {
  Serve("IP:127.0.0.1");
  Trust();
  const auto requests = Asks(20);
  const auto replies = MakeGenerator(options_)->Generate(requests, kShort);
  for (size_t i = 0; i < requests.size(); ++i)
    EXPECT_EQ(replies[i].text, Stub::TextFor(requests[i].prompt));
  EXPECT_EQ(stub_->asked().size(), 20u);
  EXPECT_EQ(stub_->asked()[0].authorization, "Bearer sk-secret");
  EXPECT_LT(stub_->connections(), 20);
}

TEST_F(HttpTls, SelfSignedIsRefused) {
  Serve("IP:127.0.0.1");
  ExpectRefused();
}

TEST_F(HttpTls, ForAnotherHostIsRefused) {
  Serve("DNS:other.example");
  Trust();
  ExpectRefused();
}

TEST_F(HttpTls, NoTlsAtAll) {
  Stub plain;
  auto options = OptionsFor({&plain});
  options.endpoints[0].insert(4, "s");
  options.timeout_s = 0.2;
  const auto problem = Problem(options, {Ask(1)}, Exit::kUnavailable);
  EXPECT_NE(problem.find("no TLS with it"), std::string::npos) << problem;
}

}  // namespace
}  // namespace whyrec::http
