//! The program against real parts: a real sshd, a stand-in of gh, shells, a stub of GitHub's API. One binary, so that it links
//! once.

#[cfg(test)]
mod agent_desk;
#[cfg(test)]
mod agent_faults;
#[cfg(test)]
mod agent_loop;
#[cfg(test)]
mod agent_process;
#[cfg(test)]
mod agent_socket;
#[cfg(test)]
mod agent_visits;
#[cfg(test)]
mod agent_world;
#[cfg(test)]
mod ansible;
#[cfg(test)]
mod answers;
#[cfg(test)]
mod api;
#[cfg(test)]
mod client_gone;
#[cfg(test)]
mod clinic;
#[cfg(test)]
mod config;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod connect_faults;
#[cfg(test)]
mod connect_idle;
#[cfg(test)]
mod connect_start;
#[cfg(test)]
mod connect_terminal;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod crash_steps;
#[cfg(test)]
mod crash_world;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod dice;
#[cfg(test)]
mod disk_faults;
#[cfg(test)]
mod disk_full;
#[cfg(test)]
mod disk_model;
#[cfg(test)]
mod e2e_asleep;
#[cfg(test)]
mod e2e_counts;
#[cfg(test)]
mod e2e_faults;
#[cfg(test)]
mod e2e_github;
#[cfg(test)]
mod e2e_lessons;
#[cfg(test)]
mod e2e_names;
#[cfg(test)]
mod e2e_quiet;
#[cfg(test)]
mod e2e_secrets;
#[cfg(test)]
mod e2e_shells;
#[cfg(test)]
mod e2e_world;
#[cfg(test)]
mod far;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod first_design;
#[cfg(test)]
mod forget_world;
#[cfg(test)]
mod gh;
#[cfg(test)]
mod github;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod guard_gh;
#[cfg(test)]
mod house;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod launchd;
#[cfg(test)]
mod laws_apply;
#[cfg(test)]
mod laws_archive;
#[cfg(test)]
mod laws_cases;
#[cfg(test)]
mod laws_edges;
#[cfg(test)]
mod laws_histories;
#[cfg(test)]
mod laws_model;
#[cfg(test)]
mod laws_objects;
#[cfg(test)]
mod laws_pass;
#[cfg(test)]
mod laws_plan;
#[cfg(test)]
mod laws_store;
#[cfg(test)]
mod laws_vault;
#[cfg(test)]
mod laws_world;
#[cfg(test)]
mod line_up;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod logs_faults;
#[cfg(test)]
mod malice_far;
#[cfg(test)]
mod malice_line;
#[cfg(test)]
mod malice_names;
#[cfg(test)]
mod malice_shown;
#[cfg(test)]
mod malice_sshd;
#[cfg(test)]
mod malice_store;
#[cfg(test)]
mod manual;
#[cfg(test)]
mod mounts;
#[cfg(test)]
mod packages;
#[cfg(test)]
mod pass_damaged;
#[cfg(test)]
mod pass_ends;
#[cfg(test)]
mod pass_first;
#[cfg(test)]
mod pass_forget;
#[cfg(test)]
mod pass_forks;
#[cfg(test)]
mod pass_hostile;
#[cfg(test)]
mod pass_leftovers;
#[cfg(test)]
mod pass_live;
#[cfg(test)]
mod pass_places;
#[cfg(test)]
mod pass_resumed;
#[cfg(test)]
mod pass_side_files;
#[cfg(test)]
mod pass_time;
#[cfg(test)]
mod pass_transcripts;
#[cfg(test)]
mod points;
#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod quiet_model;
#[cfg(test)]
mod quiet_weeks;
#[cfg(test)]
mod races;
#[cfg(test)]
mod real;
#[cfg(test)]
mod remote_far;
#[cfg(test)]
mod remote_forget;
#[cfg(test)]
mod remote_listens;
#[cfg(test)]
mod remote_meanwhile;
#[cfg(test)]
mod remote_notes;
#[cfg(test)]
mod remote_put;
#[cfg(test)]
mod remote_script;
#[cfg(test)]
mod remote_waits;
#[cfg(test)]
mod remote_walk;
#[cfg(test)]
mod remote_words;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod service_launchd;
#[cfg(test)]
mod service_systemd;
#[cfg(test)]
mod skip;
#[cfg(test)]
mod sshd;
#[cfg(test)]
mod step_races;
#[cfg(test)]
mod stepper;
#[cfg(test)]
mod strace;
#[cfg(test)]
mod system_calls;
#[cfg(test)]
mod talk;
#[cfg(test)]
mod tmux;
#[cfg(test)]
mod token;
#[cfg(test)]
mod two_agents;
#[cfg(test)]
mod verbs_doctor;
#[cfg(test)]
mod verbs_forget;
#[cfg(test)]
mod verbs_gc;
#[cfg(test)]
mod verbs_list;
#[cfg(test)]
mod verbs_restore;
#[cfg(test)]
mod verbs_restore_not;
#[cfg(test)]
mod verbs_service;
#[cfg(test)]
mod verbs_status;
#[cfg(test)]
mod verbs_vault;
#[cfg(test)]
mod verbs_verify;
#[cfg(test)]
mod verbs_world;
#[cfg(test)]
mod wait;
#[cfg(test)]
mod way;
#[cfg(test)]
mod wire_answers;
#[cfg(test)]
mod wire_bounds;
#[cfg(test)]
mod wire_streams;
#[cfg(test)]
mod world;
