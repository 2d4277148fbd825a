// The batch job of an environment, and when it ends by what schedulers print.
#include "comm/batch_job.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <map>

namespace weft {
namespace {

// As OpenPBS 22 prints it: long values go on behind a tab.
constexpr const char* kQstat =
    "Job Id: 1879859.polaris-pbs-01.hsn.cm.polaris.alcf.anl.gov\n"
    "    Job_Name = eng\n"
    "    Job_Owner = someone@polaris-login-02.hsn.cm.polaris.alcf.anl.gov\n"
    "    resources_used.cpupct = 812\n"
    "    resources_used.walltime = 00:11:40\n"
    "    job_state = R\n"
    "    queue = debug\n"
    "    exec_host = x3006c0s13b0n0/0*64+x3006c0s13b1n0/0*64+x3006c0s19b0n0/0*64+x3006\n"
    "\tc0s19b1n0/0*64\n"
    "    Resource_List.filesystems = home:eagle\n"
    "    Resource_List.walltime = 00:30:00\n"
    "    stime = Sun Nov 29 19:30:00 2026\n"
    "    Variable_List = PBS_O_HOME=/home/someone,PBS_O_LANG=en_US.UTF-8,\n"
    "\tA = Resource_List.walltime = 99:00:00,PBS_O_WORKDIR=/home/someone\n"
    "    Submit_arguments = -l walltime=00:30:00 job.pbs\n"
    "    project = datascience\n\n";

// A process in a zone of its own.
class InZone {
 public:
  explicit InZone(const char* zone) {
    if (const char* old = std::getenv("TZ")) before_ = old;
    setenv("TZ", zone, 1);
    tzset();
  }
  ~InZone() {
    before_.empty() ? unsetenv("TZ") : setenv("TZ", before_.c_str(), 1);
    tzset();
  }
  InZone(const InZone&) = delete;
  InZone& operator=(const InZone&) = delete;

 private:
  std::string before_;
};

constexpr double kHalfPastSeven = 1795980600;  // 2026-11-29T19:30:00Z

TEST(BatchJob, QstatOfPbs) {
  const InZone utc("UTC");
  const JobTimes t = parse_qstat(kQstat);
  EXPECT_EQ(t.walltime_s, 1800);
  EXPECT_EQ(t.used_s, 700);
  EXPECT_EQ(t.begin, kHalfPastSeven);
  // 12 minutes on: what the server last counted is 20 seconds old.
  EXPECT_EQ(left_of(t, kHalfPastSeven + 720), 1080);
  // Requeued, with the begin of the run before: that end is past, so the count is what there is.
  EXPECT_EQ(left_of(t, kHalfPastSeven + 7200), 1100);
}

TEST(BatchJob, QstatsTimesAreOfTheHostsZone) {
  const InZone chicago("CST6CDT,M3.2.0,M11.1.0");
  EXPECT_EQ(parse_qstat(kQstat).begin, kHalfPastSeven + 6 * 3600);
}

TEST(BatchJob, QstatOfTorqueAndOfSlurmsWrapper) {
  const InZone utc("UTC");
  const JobTimes torque = parse_qstat(
      "Job Id: 17.head\n    Resource_List.walltime = 01:00:00\n"
      "    start_time = Sun Nov 29 19:30:00 2026\n    Walltime.Remaining = 3512\n");
  EXPECT_EQ(left_of(torque, kHalfPastSeven + 600), 3000);
  const JobTimes queued = parse_qstat("Job Id: 17.head\n    Resource_List.walltime = 01:00:00\n");
  EXPECT_FALSE(left_of(queued, kHalfPastSeven));
  for (const char* nothing : {"", "qstat: Unknown Job Id 17.head\n", " = \n\t\n", "\n\n = = ="})
    EXPECT_FALSE(left_of(parse_qstat(nothing), kHalfPastSeven)) << nothing;
}

TEST(BatchJob, SlurmsDurations) {
  EXPECT_EQ(parse_slurm_time("59:30"), 3570);
  EXPECT_EQ(parse_slurm_time("0:45"), 45);
  EXPECT_EQ(parse_slurm_time("2:00:00"), 7200);
  EXPECT_EQ(parse_slurm_time("1-00:00:00"), 86400);
  EXPECT_EQ(parse_slurm_time("2-03"), 2 * 86400 + 3 * 3600);
  EXPECT_EQ(parse_slurm_time("1-2:30"), 86400 + 9000);
  for (const char* none : {"UNLIMITED", "INVALID", "NOT_SET", "", "-1", "1-", "x-1:00", "1-1-1"})
    EXPECT_FALSE(parse_slurm_time(none)) << none;
}

TEST(BatchJob, SqueueAndScontrol) {
  EXPECT_EQ(left_of(parse_squeue("1:00:00 42:07\n"), 0), 2527);
  EXPECT_EQ(parse_squeue("1:00:00 42:07\n").walltime_s, 3600);
  EXPECT_FALSE(left_of(parse_squeue("UNLIMITED UNLIMITED\n"), 0));
  EXPECT_FALSE(left_of(parse_squeue(""), 0));
  const InZone utc("UTC");
  const JobTimes t = parse_scontrol(
      "JobId=4 JobName=job.sh UserId=root(0) JobState=RUNNING Reason=None RunTime=00:00:10 "
      "TimeLimit=00:30:00 TimeMin=N/A SubmitTime=2026-11-29T19:29:59 StartTime=2026-11-29T19:30:00 "
      "EndTime=2026-11-29T20:00:00 Deadline=N/A SuspendTime=None Partition=debug\n");
  EXPECT_EQ(t.walltime_s, 1800);
  EXPECT_EQ(left_of(t, kHalfPastSeven + 10), 1790);
  EXPECT_FALSE(left_of(parse_scontrol("JobId=4 EndTime=Unknown TimeLimit=UNLIMITED"), 0));
}

// What an environment holds and what programs answer; what was asked.
struct Place {
  std::map<std::string, std::string> variables;
  std::map<std::string, ProgramAnswer> answers;  // by the command's first word
  double takes_s = 0;                            // to answer
  std::vector<std::string> asked = {};

  std::vector<BatchJob> jobs(double now) {
    return find_batch_jobs(
        [this](const char* name) {
          const auto at = variables.find(name);
          return at == variables.end() ? nullptr : at->second.c_str();
        },
        [this, &now](const std::vector<std::string>& command) {
          asked.push_back(command[0] + " " + command.back());
          now += takes_s;
          const auto at = answers.find(command[0]);
          return at == answers.end() ? ProgramAnswer{"", "not found"} : at->second;
        },
        [&now] { return now; });
  }
};

TEST(BatchJob, WhatABusyServerTakesToAnswerIsNotLeft) {
  const InZone utc("UTC");
  Place place{{{"PBS_JOBID", "7"}}, {{"qstat", {kQstat, ""}}}, 8};
  EXPECT_EQ(place.jobs(kHalfPastSeven + 720)[0].left_s, 1072);
}

TEST(BatchJob, NoneWhereNoSchedulerIs) {
  Place place{{{"PBS_O_WORKDIR", "/x"}, {"PBS_JOBID", ""}, {"SLURM_NTASKS", "4"}}, {}};
  EXPECT_TRUE(place.jobs(0).empty());
  EXPECT_TRUE(place.asked.empty());
}

TEST(BatchJob, PbsIsAskedOnce) {
  const InZone utc("UTC");
  Place place{{{"PBS_JOBID", "7[2].server"}, {"PBS_QUEUE", "debug"}, {"PBS_ACCOUNT", "p"}},
              {{"qstat", {kQstat, ""}}}};
  const auto jobs = place.jobs(kHalfPastSeven + 720);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].scheduler, "pbs");
  EXPECT_EQ(jobs[0].id, "7[2].server");
  EXPECT_EQ(jobs[0].queue, "debug");
  EXPECT_EQ(jobs[0].account, "p");
  EXPECT_EQ(jobs[0].walltime_s, 1800);
  EXPECT_EQ(jobs[0].left_s, 1080);
  EXPECT_EQ(jobs[0].source, "PBS job 7[2].server (qstat)");
  EXPECT_EQ(jobs[0].failure, "");
  EXPECT_EQ(place.asked, std::vector<std::string>{"qstat 7[2].server"});
}

TEST(BatchJob, PbsWithoutQstat) {
  Place place{{{"PBS_JOBID", "7.server"}}, {}};
  EXPECT_EQ(place.jobs(0).at(0).failure, "qstat: not found");
  EXPECT_FALSE(place.jobs(0)[0].left_s);
  place.answers["qstat"] = {"Job Id: 7.server\n", ""};
  EXPECT_EQ(place.jobs(0)[0].failure, "qstat does not say it");
  place.variables["PBS_WALLTIME"] = "36000";  // seconds, as Torque sets it
  const BatchJob job = place.jobs(0)[0];
  EXPECT_EQ(job.walltime_s, 36000);
  ASSERT_TRUE(job.left_s);
  EXPECT_LT(*job.left_s, 36000);
  EXPECT_EQ(job.source, "PBS job 7.server (PBS_WALLTIME)");
  EXPECT_EQ(job.failure, "");
}

TEST(BatchJob, SlurmsOwnWordElseItsPrograms) {
  Place place{{{"SLURM_JOB_ID", "4"},
               {"SLURM_JOB_PARTITION", "debug"},
               {"SLURM_JOB_START_TIME", "1000"},
               {"SLURM_JOB_END_TIME", "1600"}},
              {}};
  BatchJob job = place.jobs(1100).at(0);
  EXPECT_EQ(job.scheduler, "slurm");
  EXPECT_EQ(job.queue, "debug");
  EXPECT_EQ(job.walltime_s, 600);
  EXPECT_EQ(job.left_s, 500);
  EXPECT_EQ(job.source, "Slurm job 4 (SLURM_JOB_END_TIME)");
  EXPECT_TRUE(place.asked.empty());

  place.variables.erase("SLURM_JOB_END_TIME");
  place.answers["squeue"] = {"10:00 8:20\n", ""};
  job = place.jobs(1100).at(0);
  EXPECT_EQ(job.left_s, 500);
  EXPECT_EQ(job.source, "Slurm job 4 (squeue)");
  EXPECT_EQ(place.asked, std::vector<std::string>{"squeue %l %L"});

  place.answers["squeue"] = {"", "ended with 1"};
  EXPECT_EQ(place.jobs(1100).at(0).failure, "squeue: ended with 1");
  const InZone utc("UTC");
  place.answers["scontrol"] = {"JobId=4 TimeLimit=00:10:00 EndTime=1970-01-01T00:26:40\n", ""};
  job = place.jobs(1100).at(0);
  EXPECT_EQ(job.left_s, 500);
  EXPECT_EQ(job.source, "Slurm job 4 (scontrol)");
  EXPECT_EQ(job.failure, "");
}

TEST(BatchJob, JobsThatNestAreAllAsked) {
  Place place{{{"PBS_JOBID", "7.s"}, {"SLURM_JOB_ID", "4"}, {"SLURM_JOB_END_TIME", "160"}}, {}};
  const auto jobs = place.jobs(100);
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0].scheduler, "pbs");
  EXPECT_EQ(jobs[1].left_s, 60);
}

}  // namespace
}  // namespace weft
