// The environment that the program sets for itself by a second start, and its purpose: the same
// bytes from every level of CPU kernels.
#include "tests/procs/process.h"

namespace whyrec {
namespace {

// Two levels of kernels that round differently.
const Words kLow = {"ATEN_CPU_CAPABILITY=default", "MKL_CBWR=COMPATIBLE", "OMP_NUM_THREADS=1",
                    "GLIBC_TUNABLES=glibc.malloc.perturb=0:glibc.cpu.hwcaps=-AVX2,-FMA"};
const Words kHigh = {"ATEN_CPU_CAPABILITY=avx2", "MKL_CBWR=AVX2", "OMP_NUM_THREADS=2"};

// The program in this environment, without the variables that are set for the tests.
Words Under(const Words& environment, const Words& program) {
  Words out = {"/usr/bin/env"};
  for (const char* name :
       {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
        "ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "GLIBC_TUNABLES"})
    out.insert(out.end(), {"-u", name});
  out.insert(out.end(), environment.begin(), environment.end());
  out.insert(out.end(), program.begin(), program.end());
  return out;
}

class SelfStart : public TinyRuns {
 protected:
  using Environment = std::map<std::string, std::string>;

  // The environment of a run's second start; empty if it did not start again.
  Environment SecondStart(const Words& given, bool reproducible) const {
    Process process(Under(given, Program("w", {"system[0].name=markov",
                                               Cat("execution.reproducible=", reproducible)})),
                    folder_ / "out");
    Environment out;
    const auto started = [&] {
      out.clear();
      std::istringstream in(ReadAll(Cat("/proc/", process.pid(), "/environ")));
      for (std::string line; std::getline(in, line, '\0');)
        out[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
      return out["WHYREC_STARTED"] == Cat(process.pid(), reproducible ? " plain" : "");
    };
    if (!process.Until(started)) out.clear();
    EXPECT_EQ(process.Wait(), 0) << Said();
    return out;
  }

  using Files = std::map<std::string, std::string>;

  // The files of a few steps of configs/tiny/<name>, started by `starter`.
  Files Made(const std::string& workspace, const Words& given, const std::string& name,
             const Words& settings, Words starter = {kProgram, "run"}) const {
    starter.insert(starter.end(), {Cat(WHYREC_SOURCE_DIR "/configs/tiny/", name, ".txtpb"),
                                   "--workspace", (folder_ / workspace).string()});
    for (const char* few : {"train.steps=5", "train.epoch_steps=5", "predict.users=8"})
      starter.insert(starter.end(), {"--set", few});
    for (const std::string& setting : settings) starter.insert(starter.end(), {"--set", setting});
    EXPECT_EQ(Process(Under(given, starter), folder_ / "out").Wait(500), 0) << Said();
    return Contents(folder_ / workspace);
  }
};

TEST_F(SelfStart, SaysHowThreadsWaitUnlessTheUserDoes) {
  EXPECT_EQ(SecondStart({}, false)["GOMP_SPINCOUNT"], "5000");
  EXPECT_TRUE(SecondStart({"GOMP_SPINCOUNT=77"}, false).empty());
  EXPECT_TRUE(SecondStart({"OMP_WAIT_POLICY=active"}, false).empty());
  Environment plain = SecondStart({"OMP_WAIT_POLICY=active"}, true);
  EXPECT_EQ(plain["OMP_WAIT_POLICY"], "active");
  EXPECT_EQ(plain.count("GOMP_SPINCOUNT"), 0u);
}

TEST_F(SelfStart, SetsPlainKernelsWhateverWasSet) {
  for (const Words& given : {kLow, kHigh}) {
    Environment plain = SecondStart(given, true);
    EXPECT_EQ(plain["ATEN_CPU_CAPABILITY"], "default");
    EXPECT_EQ(plain["MKL_CBWR"], "COMPATIBLE");
    EXPECT_EQ(plain["ONEDNN_MAX_CPU_ISA"], "SSE41");
    EXPECT_EQ(plain["OMP_NUM_THREADS"], "1");
    // The loader cuts the variable at its colons.
    const std::string variants = "-AVX2,-FMA,-FMA4";
    if (given == kLow) {
      EXPECT_EQ(plain["GLIBC_TUNABLES"], "glibc.malloc.perturb=0");
      EXPECT_EQ(plain["glibc.cpu.hwcaps"], variants);
    } else {
      EXPECT_EQ(plain["GLIBC_TUNABLES"], "glibc.cpu.hwcaps=" + variants);
    }
    EXPECT_NE(Said().find("execution.reproducible: kernels that every x86-64 CPU has"),
              std::string::npos);
  }
}

TEST_F(SelfStart, ReproducibleRunsAreForCpus) {
  EXPECT_EQ(Finish(Program("w", {"system[0].name=markov", "execution.reproducible=true",
                                 "execution.device=cuda"})),
            2);
  EXPECT_NE(Said().find("execution.reproducible needs a CPU"), std::string::npos) << Said();
}

// Graph propagation; then attention, encoders, and a language model with adapters.
TEST_F(SelfStart, ReproducibleRunsAgreeAtEveryLevelOfKernels) {
  for (const auto& [name, model] : {std::pair("lightgcn", "train.lightgcn/model.safetensors"),
                                    std::pair("pulse_lora", "train.sasrec/model.safetensors")}) {
    const std::string reproducible = "execution.reproducible=true", of = name;
    const Files low = Made(of, kLow, name, {reproducible});
    EXPECT_EQ(Made(of + " high", kHigh, name, {reproducible, "execution.threads=2"}), low);
    EXPECT_EQ(low.count(model), 1u);
    EXPECT_EQ(low.count("report/report.md"), 1u);
  }
}

// The control: without the option, results depend on the level.
TEST_F(SelfStart, OtherRunsDiffer) {
  const std::string model = "train.sasrec/model.safetensors";
  const std::string low = Made("low", kLow, "sasrec", {"execution.threads=1"}).at(model);
  if (Made("high", kHigh, "sasrec", {"execution.threads=1"}).at(model) == low)
    GTEST_SKIP() << "this CPU gives the same bits at both levels";
}

TEST_F(SelfStart, RanksAgreeToo) {
  if (RunCommand("mpirun --version", 20).code != 0) GTEST_SKIP() << "mpirun is not installed";
  if (!fs::exists(WHYREC_BINARY_DIR "/libwhyrec_mpi.so"))
    GTEST_SKIP() << "built without MPI: no libwhyrec_mpi.so";
  setenv("WHYREC_BUILD", WHYREC_BINARY_DIR, 1);
  const Words two = {WHYREC_SOURCE_DIR "/launch/run.sh", "-n", "2"};
  const Words settings = {"execution.reproducible=true"};
  EXPECT_EQ(Made("high", kHigh, "sasrec", settings, two),
            Made("low", kLow, "sasrec", settings, two));
}

}  // namespace
}  // namespace whyrec
