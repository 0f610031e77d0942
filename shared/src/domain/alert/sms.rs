use super::Alert;

pub(super) fn render(alert: &Alert) -> String {
    alert.title.clone()
}
