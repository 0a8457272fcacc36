/**
 * The processes that want a signal of each commit. An append signals only while another process has a lease here: a signal
 * wakes every listening session, also that of the committing process, and costs as much as a small batch.
 *
 * A lease is taken and renewed under the append's lock. So an append either sees it, or has committed before it was taken;
 * a reader that asks for the head once it has its lease finds those commits. The answer states whether the
 * lease was unbroken since its last renewal: if not, commits may have gone without a signal.
 *
 * Times are the database's. A lease further in the future than any that is granted is left from before the clock was set back.
 */
export const listenFunction = `create function columba_listen_v1(p_listener text, p_lease float8) returns boolean
  language plpgsql volatile as $columba$
  declare
    v_lease interval := p_lease * interval '1 millisecond';
    v_now timestamptz;
    v_kept boolean;
  begin
    perform pg_advisory_xact_lock(4341001, 1);
    v_now := clock_timestamp();
    delete from log_listeners where until <= v_now or until > v_now + v_lease;
    update log_listeners set until = v_now + v_lease where listener = p_listener::uuid;
    v_kept := found;
    if not v_kept then
      insert into log_listeners (listener, until) values (p_listener::uuid, v_now + v_lease);
    end if;
    return v_kept;
  end
$columba$`
