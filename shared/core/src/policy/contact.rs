//! The member `contact`: from what people write to what alerts show.

use crate::{
    alert::contact::{Contact, MAX_CONTACT, is_address},
    policy::{document::ContactSection, reading::PolicyError},
    text,
};

pub(super) fn read(path: &str, section: &ContactSection) -> Result<Contact, PolicyError> {
    let at = |field: &str, problem: String| PolicyError::at(format!("{path}.{field}"), problem);
    let addresses = [("policy", &section.policy), ("guide", &section.guide)];
    let addresses = addresses
        .into_iter()
        .filter_map(|(field, text)| Some((field, text.as_ref()?)));
    for (field, address) in addresses {
        if !is_address(address) {
            let address = text::line(address, 60);
            let problem = format!(
                "`{address}` is no address: write `https://…`, at most {MAX_CONTACT} characters, without blanks"
            );
            return Err(at(field, problem));
        }
    }
    if let Some(help) = &section.help
        && (help.trim().is_empty() || text::line(help, MAX_CONTACT) != *help)
    {
        let problem = format!("it is one line of 1 to {MAX_CONTACT} characters, such as the name of a channel");
        return Err(at("help", problem));
    }
    Ok(Contact {
        policy: section.policy.clone(),
        help: section.help.clone(),
        guide: section.guide.clone(),
    })
}
